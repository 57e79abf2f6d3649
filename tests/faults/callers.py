"""Load from a process of its own: sends requests until stdin ends, then prints its counts as one line of JSON.

Before that it prints a line for every right answer.

    python -m tests.faults.callers URL CALLERS PATIENCE_S

Each caller sends one request after another, with a recording of its own length, which the fake engine's
text states. PATIENCE_S is for how long a caller retries after a 500 or a lost connection, as clients do; 0: not at all.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field

import httpx

from tests.conftest import wav

PAUSE_S = 0.25  # before another try
ANSWER_S = 60.0


@dataclass
class Counts:
    requests: int = 0
    answered: int = 0
    refused: int = 0  # 429
    tried_again: int = 0
    slowest_s: float = 0.0
    lost: list[str] = field(default_factory=list)


async def call(client: httpx.AsyncClient, seconds: float, data: bytes, counts: Counts) -> str:
    """Send one request: '' if answered or refused, else what went wrong."""
    form = {"language": "en", "prompt": "slow 0.1"}
    try:
        answer = await client.post("/transcribe", files={"audio_file": ("a.wav", data)}, data=form)
    except httpx.TransportError as e:
        return repr(e)
    if answer.status_code == 429:
        counts.refused += 1
        await asyncio.sleep(min(float(answer.headers["retry-after"]), 2))
        return ""
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text[:200]}"
    if not answer.json()["text"].startswith(f"{seconds:.1f} seconds at 0.0"):
        return f"wrong: {answer.text[:200]}"
    counts.answered += 1
    print("answered", flush=True)
    return ""


async def caller(number: int, url: str, patience_s: float, counts: Counts, stop: asyncio.Event) -> None:
    seconds = 1 + number / 10
    data = wav(seconds)
    async with httpx.AsyncClient(base_url=url, timeout=ANSWER_S, trust_env=False) as client:
        while not stop.is_set():
            began = time.monotonic()
            counts.requests += 1
            while failure := await call(client, seconds, data, counts):
                if time.monotonic() - began >= patience_s or failure.startswith("wrong"):
                    counts.lost.append(f"{failure} after {time.monotonic() - began:.1f} s")
                    print(counts.lost[-1], file=sys.stderr, flush=True)
                    await asyncio.sleep(PAUSE_S)
                    break
                counts.tried_again += 1
                await asyncio.sleep(PAUSE_S)
            counts.slowest_s = max(counts.slowest_s, time.monotonic() - began)


async def main() -> None:
    url, callers, patience_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    counts, stop = Counts(), asyncio.Event()
    tasks = [asyncio.create_task(caller(number, url, patience_s, counts, stop)) for number in range(callers)]
    await asyncio.to_thread(sys.stdin.read)
    stop.set()
    await asyncio.gather(*tasks)
    print(json.dumps(asdict(counts)))


if __name__ == "__main__":
    asyncio.run(main())
