"""Soak test: a service of our own under steady load, and how the memory of its processes grows.

    python -m loadtest.soak --minutes 20

Exit code 0: every answer was right and memory stayed; 1: not so; 2: nothing could be measured.
"""

import json
import os
from collections.abc import Sequence
from statistics import mean

from loadtest.common import command
from loadtest.common.processes import Meter
from loadtest.common.service import own_service
from loadtest.load import run
from loadtest.load.page import document
from loadtest.load.plots import Plot, Points, drawing

GROWTH = 0.05  # from the second quarter of the time to the last, that is taken for none


def growth(points: Points) -> float:
    """Share by which the last quarter is above the second: the first is for warming up."""
    quarter = max(len(points) // 4, 1)
    early = mean(mb for _, mb in points[quarter : 2 * quarter] or points)
    return mean(mb for _, mb in points[-quarter:]) / early - 1


def by_role(meter: Meter) -> dict[str, list[tuple[float, float]]]:
    """Memory over time: (minutes, 1e6 bytes)."""
    found: dict[str, list[tuple[float, float]]] = {}
    for seconds, memory in meter.memory:
        for role, mb in memory.items():
            found.setdefault(role, []).append((seconds / 60, mb))
    return found


def main(argv: Sequence[str]) -> int:
    parser = command.parser("loadtest.soak", "Hold a load for long.", "--config", "--out")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--users", type=int, default=8)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    load = ["--shape", "soak", "--ladder", str(args.users), "--seconds", str(args.minutes * 60)]
    load += ["--config", os.path.relpath(args.config), "--out", os.path.relpath(args.out)]
    with own_service(args.config, args.out / "service.log") as service, Meter(service.process) as meter:
        code = run.main(["--url", service.url, *load])
    memory, name = by_role(meter), args.out / "soak-memory"
    plot = drawing(Plot("Memory", "minutes", "MB (PSS)", memory))
    name.with_suffix(".html").write_text(document("Soak", plot), encoding="utf-8")
    name.with_suffix(".json").write_text(json.dumps(memory), encoding="utf-8")
    grown = {role: growth(points) for role, points in memory.items()}
    for role, share in grown.items():
        print(f"{role}: {memory[role][-1][1]:.0f} MB, {share:+.1%} since the second quarter")
    print(f"{name}.html, .json")
    return code or int(max(grown.values()) > GROWTH)
