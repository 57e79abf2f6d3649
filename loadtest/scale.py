"""Numbers of replicas in; what a request costs each part of the service but the model, out.

    python -m loadtest.scale --replicas 2,10,30

Requests are one recording of 11 s, decoded and cut as ever. The engine is the fake one, which takes no time:
what is left is Ray's and ours.
"""

import argparse
import asyncio
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import httpx
import psutil

from loadtest.errors import CannotRun
from loadtest.origin import ENV
from loadtest.service import own_service
from loadtest.speech import jfk

ROOT = Path(__file__).resolve().parents[1]
LOG = ROOT / "loadtest/results/scale.log"
PARTS = {  # start of a process's name -> what it is
    "ray::ServeReplica:default:Model": "model",
    "ray::ServeReplica:default:Ingress": "ingress",
    "ray::ProxyActor": "proxy",
    "ray::ServeController": "controller",
}
REST = "raylet, GCS and the rest"
SETTINGS = {
    "MODEL__ENGINE": "fake",
    "QUALITY__FILTERS": "[]",
    "LOGGING__FILE": "null",
    "SERVER__DASHBOARD": "false",
    "DEPLOYMENT__CPU_PER_REPLICA": "0.01",
}


@dataclass(frozen=True, slots=True)
class Level:
    """What was measured with so many replicas."""

    replicas: int
    waits_s: list[float]  # one an answer
    seconds: float
    others: Counter[int]  # answers that were not 200, by status
    cpu_s: Mapping[str, float]  # by part, while the load ran
    idle_cores: Mapping[str, float]  # by part, before it
    memory_mb: float  # RSS of all processes


def cpu_times() -> dict[str, float]:
    """CPU seconds so far by part, of all that descends from this process's service."""
    taken: dict[str, float] = defaultdict(float)
    for process in family():
        with suppress(psutil.Error, IndexError):  # it just ended
            name, times = process.cmdline()[0], process.cpu_times()
            part = next((part for start, part in PARTS.items() if name.startswith(start)), REST)
            taken[part] += times.user + times.system
    return taken


def family() -> list[psutil.Process]:
    main = [p for p in psutil.Process().children() if "main.py" in p.cmdline()]
    return main[0].children(recursive=True) if main else []


def memory_mb() -> float:
    total = 0.0
    for process in family():
        with suppress(psutil.Error):
            total += process.memory_info().rss / 1e6
    return total


async def ask(url: str, data: bytes, until: float, waits_s: list[float]) -> Counter[int]:
    """One caller, again and again; what it was answered, by status."""
    answered: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        while (began := time.monotonic()) < until:
            form = {"audio_file": ("jfk.flac", data)}
            answer = await client.post("/transcribe", files=form, data={"language": "en"})
            waits_s.append(time.monotonic() - began)
            answered[answer.status_code] += 1
    return answered


async def crowd(url: str, callers: int, data: bytes, seconds: float, waits_s: list[float]) -> Counter[int]:
    until = time.monotonic() + seconds
    told = await asyncio.gather(*(ask(url, data, until, waits_s) for _ in range(callers)))
    return sum(told, Counter())


def measure(replicas: int, args: argparse.Namespace) -> Level:
    settings = SETTINGS | {
        "DEPLOYMENT__NUM_REPLICAS": str(replicas),
        "SERVER__NUM_INGRESS": str(args.ingresses),
        "SERVER__DEDICATED_CPU": "false",
        "SERVER__PROXY": args.proxy,
    }
    os.environ |= {f"{ENV}{name}": value for name, value in settings.items()}
    data, waits_s = jfk().read_bytes(), list[float]()
    with own_service(ROOT / "config.json", ROOT, LOG) as url:
        asyncio.run(crowd(url, args.callers, data, 2, []))  # the first requests meet cold paths
        rested = cpu_times()
        time.sleep(args.seconds / 2)
        before = cpu_times()
        idle = {part: 2 * (before[part] - rested[part]) / args.seconds for part in before}
        began = time.monotonic()
        answered = asyncio.run(crowd(url, args.callers, data, args.seconds, waits_s))
        took, after = time.monotonic() - began, cpu_times()
        cpu_s = {part: after[part] - before.get(part, 0.0) for part in [*PARTS.values(), REST]}
        del answered[httpx.codes.OK]
        return Level(replicas, waits_s, took, answered, cpu_s, idle, memory_mb())


def row(level: Level) -> str:
    answers = len(level.waits_s)
    cuts = quantiles(level.waits_s, n=100)
    cells = [
        f"{level.replicas}",
        f"{answers / level.seconds:.0f}",
        f"{1000 * cuts[49]:.0f} / {1000 * cuts[98]:.0f}",
        *(f"{1000 * seconds / answers:.1f}" for seconds in level.cpu_s.values()),
        f"{sum(level.idle_cores.values()):.2f}",
        f"{level.idle_cores['controller']:.3f}",
        f"{level.memory_mb / 1000:.1f}",
        ", ".join(f"{count} of {status}" for status, count in level.others.items()) or "0",
    ]
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.scale")
    parser.add_argument(
        "--replicas", default="2,10,30", help="numbers of model replicas, one after the other"
    )
    parser.add_argument("--ingresses", type=int, default=2)
    parser.add_argument("--proxy", choices=["python", "haproxy"], default="python")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=15.0)
    args = parser.parse_args(argv)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    parts = " | ".join(f"{part}, CPU ms" for part in [*PARTS.values(), REST])
    print(
        f"| replicas | requests/s | p50 / p99, ms | {parts} | idle, cores | of it controller | RSS, GB | not 200 |"
    )
    print("|---" * (len(PARTS) + 8) + "|")
    try:
        for replicas in map(int, args.replicas.split(",")):
            print(row(measure(replicas, args)), flush=True)
    except CannotRun as e:
        print(e, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
