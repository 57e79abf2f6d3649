"""Measures what metrics and traces cost: services that differ only in those, under the same load by turns.

python -m tests.observability.overhead [--rounds 60] [--model tiny.en --recording speech.flac]
"""

import argparse
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from statistics import median, stdev

import httpx
import psutil
from tqdm import tqdm

from tests.conftest import wav
from tests.observability.collector import collecting
from tests.support.service import FAKE, Running, started

CALLERS = 4
AUDIO_S = 2
SCRAPE_S = 15.0  # as often as deploy/prometheus/prometheus.yml asks


@dataclass
class Measured:
    service: Running
    processes: list[psutil.Process]
    cpu_ms: list[float] = field(default_factory=list)  # a request, over all processes; by round
    rate: list[float] = field(default_factory=list)  # requests a second

    def cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes if process.is_running())


def load(measured: Measured, requests: int, recording: bytes) -> None:
    """One round: so many requests by several callers, and its share of the scrapes."""
    with measured.service.client() as client, ThreadPoolExecutor(CALLERS) as pool:

        def ask(_: int) -> int:
            file = ("a.wav", recording)
            return client.post("/transcribe", files={"audio_file": file}, data={"language": "en"}).status_code

        before, began = measured.cpu_s(), time.perf_counter()
        assert set(pool.map(ask, range(requests))) == {200}
        took = time.perf_counter() - began
        scrape(client, took / SCRAPE_S)
        measured.cpu_ms.append((measured.cpu_s() - before) / requests * 1000)
        measured.rate.append(requests / took)


def scrape(client: httpx.Client, due: float) -> None:
    for _ in range(int(due) + (random.random() < due % 1)):
        client.get("/metrics")


def compared(variants: dict[str, Measured], baseline: str) -> str:
    """A Markdown table: medians, and that of the ratio to the baseline of the same round with its standard error."""
    lines = ["| | CPU ms a request | ratio of CPU time | requests/s | ratio |", "|---|---|---|---|---|"]
    base = variants[baseline]
    for name, measured in variants.items():
        cpu, rate = ratio(measured.cpu_ms, base.cpu_ms), ratio(measured.rate, base.rate)
        lines.append(
            f"| {name} | {median(measured.cpu_ms):.2f} | {cpu} | {median(measured.rate):.1f} | {rate} |"
        )
    return "\n".join(lines)


def ratio(values: list[float], base: list[float]) -> str:
    ratios = [value / other for value, other in zip(values, base, strict=True)]
    return f"{median(ratios):.3f} ± {1.25 * stdev(ratios) / sqrt(len(ratios)):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a Whisper name; absent: the fake engine")
    parser.add_argument(
        "--recording", type=Path, help="speech; absent: two seconds of a tone, for the fake engine"
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=40, help="a round")
    args = parser.parse_args()
    engine = {"MODEL__SIZE": args.model} if args.model else FAKE
    recording = args.recording.read_bytes() if args.recording else wav(AUDIO_S)
    with ExitStack() as stack:
        spans = stack.enter_context(collecting()).url
        settings = {
            "nothing": {"SERVER__METRICS": "false"},
            "nothing, once more": {"SERVER__METRICS": "false"},  # how much services differ that do not
            "metrics": {},
            "metrics and traces of all requests": {"TRACING__ENDPOINT": spans},
        }
        services = {name: stack.enter_context(started(engine | own)) for name, own in settings.items()}
        variants = {}
        for name, service in services.items():
            variants[name] = measured = Measured(service.wait_until_ready(), service.processes())
            load(measured, args.requests, recording)  # warm
            measured.cpu_ms.clear()
            measured.rate.clear()
        turns = list(variants.values())
        for _ in tqdm(range(args.rounds)):
            random.shuffle(turns)
            for measured in turns:
                load(measured, args.requests, recording)
    print(compared(variants, "nothing"))


if __name__ == "__main__":
    main()
