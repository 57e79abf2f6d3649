"""Sends one request from each of many callers at once, and prints the answers as one line of JSON.

    python -m tests.faults.flood URL CALLERS SECONDS

For each answer: status, seconds it took, whether it was right, Retry-After.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

import httpx

from tests.conftest import wav


@dataclass
class Answered:
    status: int
    took_s: float
    right: bool
    retry_after: str


async def ask(client: httpx.AsyncClient, seconds: float, data: bytes) -> Answered:
    began = time.monotonic()
    form = {"language": "en", "prompt": "slow 0.2"}
    answer = await client.post("/transcribe", files={"audio_file": ("a.wav", data)}, data=form)
    took_s, body = time.monotonic() - began, answer.json()
    right = body["text"].startswith(f"{seconds:.1f} seconds") or answer.status_code == 429
    return Answered(answer.status_code, took_s, right, answer.headers.get("retry-after", ""))


async def main() -> None:
    url, callers, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    data = wav(seconds, rate=4000)  # as small as speech is when compressed
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits) as client:
        answers = await asyncio.gather(*(ask(client, seconds, data) for _ in range(callers)))
    print(json.dumps([asdict(answer) for answer in answers]))


if __name__ == "__main__":
    asyncio.run(main())
