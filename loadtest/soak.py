"""Minutes in; a service of our own under steady load, and the memory of its processes as a plot and a verdict, out.

    python -m loadtest.soak --minutes 20

Exit code 0: every answer was right and memory stayed; 1: not so; 2: nothing could be measured.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean

import psutil

from loadtest.errors import CannotRun
from loadtest.plot import Plot, drawing, linear
from loadtest.service import own_service

ROOT = Path(__file__).resolve().parents[1]
EVERY_S = 5.0
ROLES = {  # start of a process's name -> whose memory it is
    "ray::ServeReplica:default:Model": "model",
    "ray::ServeReplica:default:Ingress": "ingress",
    "ray::ProxyActor": "proxy",
}
OTHERS = "the rest of Ray"
GROWTH = 0.05  # from the second quarter of the time to the last, that is taken for none
PAGE = "<!doctype html><meta charset=utf-8><title>Soak</title><style>.g{{stroke:#ccc}}text{{font:12px sans-serif}}</style>{}"

Memory = dict[str, list[tuple[float, float]]]  # by role: (minutes, MB of RSS)


class Sampler:
    """Measures the service's processes until it is left."""

    def __init__(self) -> None:
        self.memory: Memory = defaultdict(list)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._left.wait(EVERY_S):
            for role, mb in measured().items():
                self.memory[role].append(((time.monotonic() - began) / 60, mb))


def measured() -> dict[str, float]:
    """MB of RSS by role, of all that descends from the service's main.py."""
    main = [p for p in psutil.Process().children() if "main.py" in p.cmdline()]
    memory: dict[str, float] = defaultdict(float)
    for process in main[0].children(recursive=True) if main else []:
        with suppress(psutil.Error, IndexError):  # it just ended
            name = process.cmdline()[0]
            role = next((role for start, role in ROLES.items() if name.startswith(start)), OTHERS)
            memory[role] += process.memory_info().rss / 1e6
    return memory


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Share by which the last quarter is above the second: the first is for warming up."""
    quarter = max(len(points) // 4, 1)
    early = mean(mb for _, mb in points[quarter : 2 * quarter] or points)
    return mean(mb for _, mb in points[-quarter:]) / early - 1


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.soak")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--config", type=Path, default=ROOT / "config.json")
    parser.add_argument("--out", type=Path, default=ROOT / "loadtest/results")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    load = ["--shape", "soak", "--ladder", str(args.users), "--seconds", str(args.minutes * 60)]
    load += ["--out", os.path.relpath(args.out, ROOT)]
    try:
        with own_service(args.config, ROOT, args.out / "service.log") as url, Sampler() as sampler:
            command = [sys.executable, "-m", "loadtest", "--url", url, *load]
            ended = subprocess.run(command, cwd=ROOT, check=False)
    except CannotRun as e:
        print(e, file=sys.stderr)
        return 2
    name = args.out / "soak-memory"
    plot = drawing(Plot("Memory", "minutes", "MB of RSS", sampler.memory, linear))
    name.with_suffix(".html").write_text(PAGE.format(plot), encoding="utf-8")
    name.with_suffix(".json").write_text(json.dumps(sampler.memory), encoding="utf-8")
    grown = {role: growth(points) for role, points in sampler.memory.items()}
    for role, share in grown.items():
        print(f"{role}: {sampler.memory[role][-1][1]:.0f} MB, {share:+.1%} since the second quarter")
    print(f"{name}.html, .json")
    return ended.returncode or int(max(grown.values(), default=0.0) > GROWTH)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
