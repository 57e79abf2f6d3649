"""A report of the bench, for tests: the service, and one peer."""

from dataclasses import replace

from loadtest.bench.figures import Line
from loadtest.bench.plan import CROWD, FASTER_WHISPER, SERVICE
from loadtest.bench.report import Report
from loadtest.bench.verdicts import verdicts
from loadtest.bench.workloads import SHORT
from loadtest.common.provenance import Machine, Origin

LINE = Line(SERVICE, SHORT, CROWD, 1, 32, 10.0, 75.0, 0.5, 1.5, 5, 100, 0.03, 1200.0, 0.01)


def compared() -> list[Line]:
    """The service, and faster-whisper at a quarter of its rate."""
    return [LINE, replace(LINE, peer=FASTER_WHISPER, requests_per_s=2.5, audio_per_s=18.75, p50_s=2.0)]


def report() -> Report:
    lines = tuple(compared())
    return Report(
        origin=Origin("2026-01-01", "abc1234", "python -m loadtest.bench", Machine("CPU", 2, 8, ""), {}, {}),
        versions={"ray": "2"},
        recordings={SHORT: "32 recordings"},
        tried=(),
        left_out={"whisper.cpp": "not there"},
        seconds=60.0,
        lines=lines,
        rows=tuple(verdicts(lines, 2, True)),
    )
