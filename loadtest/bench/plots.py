"""Plots of a bench as one PNG: rate and latency over callers, then what each workload took."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.bench.figures import Figure as Value
from loadtest.bench.figures import middle, of
from loadtest.bench.plan import CROWD, Job
from loadtest.bench.report import Report
from loadtest.bench.workloads import FEW, MIX, ONE_LONG, SHORT

SIZE = (13, 9)  # inches
DPI = 110
COMPARED = (Job(SHORT, CROWD), Job(FEW, 1), Job(ONE_LONG, 1), Job(MIX, CROWD))


def draw(report: Report, file: Path) -> None:
    """Write the plot; no screen is needed."""
    figure = Figure(SIZE, DPI, layout="constrained")
    rate, wait, speed, cost = figure.subplots(2, 2).flat
    over_callers(rate, report, "requests/s, short clips", lambda line: line.requests_per_s)
    rate.set_ylim(bottom=0)
    over_callers(wait, report, "p95 latency in seconds, short clips", lambda line: line.p95_s)
    wait.set_yscale("log")
    bars(speed, report, "audio seconds per second", lambda line: line.audio_per_s)
    bars(cost, report, "CPU seconds per audio second", lambda line: line.cpu_per_audio_s)
    made = report.origin
    figure.suptitle(f"{made.machine}; commit {made.commit}; {made.taken}", fontsize=10)
    figure.savefig(file)


def over_callers(axes: Axes, report: Report, title: str, value: Value) -> None:
    """A line a contestant, at its median; the band runs from the least round to the most."""
    series: dict[str, list[tuple[int, list[float]]]] = {}
    for peer, job in report.jobs:
        if job.workload == SHORT:
            found = [value(line) for line in of(report.lines, peer, job)]
            series.setdefault(peer, []).append((job.callers, sorted(found)))
    for peer, points in series.items():
        callers = [count for count, _ in points]
        axes.plot(callers, [rounds[len(rounds) // 2] for _, rounds in points], marker="o", label=peer)
        axes.fill_between(callers, [r[0] for _, r in points], [r[-1] for _, r in points], alpha=0.2)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({count for points in series.values() for count, _ in points}))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlabel("callers")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if series:
        axes.legend(fontsize=8)


def bars(axes: Axes, report: Report, title: str, value: Value) -> None:
    """A bar a contestant and workload, the first on top; a contestant's have one colour."""
    compared = [(peer, job) for peer, job in report.jobs if job in COMPARED]
    names = [f"{peer}\n{job.workload}, {job.callers}" for peer, job in compared]
    places = range(len(compared), 0, -1)
    colours = {peer: f"C{place}" for place, peer in enumerate(dict.fromkeys(peer for peer, _ in report.jobs))}
    drawn = axes.barh(
        places,
        [middle(of(report.lines, peer, job), value) for peer, job in compared],
        color=[colours[peer] for peer, _ in compared],
    )
    axes.bar_label(drawn, fmt="%.3g", padding=3, fontsize=8)
    axes.set_yticks(places, names, fontsize=7)
    axes.margins(x=0.12)
    axes.set_title(title)
