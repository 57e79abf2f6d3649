"""Report of a run: a line a window, percentiles over all samples, change since the last report like it.

Nothing here starts anything or reads a clock. To add a figure: a field of
Line here, and a row in table.CALLERS or SERVICE.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
from pydantic import AliasChoices, Field, TypeAdapter

from loadtest.common import markdown
from loadtest.common.provenance import Origin
from loadtest.load.samples import Run, Sample, Window

TIMELINE_POINTS = 240
BUSY = 0.8  # share of a core at which a client is in doubt
LATE_S, LATE = 0.1, 0.1  # by which it may be late: so many seconds, or such a share of P95


@dataclass(frozen=True, slots=True)
class Line:
    """One window. Latencies are those of right answers to requests that began in it."""

    label: str
    load: float  # users, or arrivals a second
    seconds: float
    requests: int  # began in it
    ok: int
    wrong: int
    errors: int
    refused: int
    avg_s: float | None  # None: no right answer
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    max_s: float | None
    first_p50_s: float | None  # to the first words of a stream
    answers_per_s: float  # right answers that ended in the window
    audio_per_s: float  # seconds of audio in them, per second
    refused_after_s: float | None  # mean latency of the refusals
    retry_after_s: Annotated[  # mean of their Retry-After, under its old name in older files
        float | None, Field(validation_alias=AliasChoices("retry_after_s", "told_to_wait_s"))
    ]
    decode_s: float | None  # means, as the service reports them
    queue_s: float | None
    inference_s: float | None
    batch_windows: float | None  # mean over the inference batches
    batch_most: float | None
    batch_s: float | None  # seconds of audio, mean over the batches
    client_cpu: float
    client_lag_s: float
    change: float | None = None  # of avg_s against the last like report; 0.1 is 10 % slower

    @property
    def error_rate(self) -> float:
        """Wrong and broken answers per request that was not refused."""
        return (self.wrong + self.errors) / max(1, self.requests - self.refused)


@dataclass(frozen=True, slots=True)
class Moment:
    """A slice of the run, for the plot of latency over time."""

    at: float  # seconds on the run's clock, by when requests began
    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class Setting:
    """What the service was asked for; reports are compared where it is the same."""

    protocol: str
    shape: str
    mix: str
    clips: str  # digest


@dataclass(frozen=True, slots=True)
class Report:
    origin: Origin
    setting: Setting
    model: str  # as the service reports it, or as configured
    rest_s: float  # median latency of a request that is alone
    left_out: tuple[str, ...]  # clips that come out wrong even at rest
    lines: tuple[Line, ...]
    timeline: tuple[Moment, ...]
    failures: tuple[str, ...]  # a few, in words
    windows: tuple[Window, ...]
    before: str | None = None  # when the report that `change` is against was taken

    @property
    def load_name(self) -> str:
        return "Arrivals/s" if self.setting.shape == "open" else "Concurrency"

    @property
    def failed(self) -> int:
        return sum(line.wrong + line.errors for line in self.lines)

    @property
    def doubts(self) -> list[str]:
        """Where the client, or the machine it shares, was so busy that it measured itself."""
        return [
            f"at {line.label} it used {line.client_cpu:.0%} of a core and was up to {line.client_lag_s:.2f} s late"
            for line in self.lines
            if line.client_cpu > BUSY or line.client_lag_s > max(LATE_S, LATE * (line.p95_s or inf))
        ]


def line_of(window: Window, samples: Iterable[Sample]) -> Line:
    """The line of a window, out of all samples of the run."""
    samples = list(samples)
    began = [s for s in samples if window.start <= s.started < window.end]
    right = [s for s in began if s.outcome == "ok"]
    ended = [s for s in samples if s.outcome == "ok" and window.start <= s.ended < window.end]
    waits = [s.latency_s for s in right]
    outcomes = [s.outcome for s in began]
    seconds = window.end - window.start
    return Line(
        label=window.label,
        load=window.load,
        seconds=seconds,
        requests=len(began),
        ok=len(right),
        wrong=outcomes.count("wrong"),
        errors=outcomes.count("error"),
        refused=outcomes.count("refused"),
        avg_s=_mean(waits),
        p50_s=_percentile(waits, 50),
        p95_s=_percentile(waits, 95),
        p99_s=_percentile(waits, 99),
        max_s=max(waits, default=None),
        first_p50_s=_percentile([s.first_s for s in right if s.first_s is not None], 50),
        answers_per_s=len(ended) / seconds,
        audio_per_s=sum(s.audio_s for s in ended) / seconds,
        refused_after_s=_mean(s.latency_s for s in began if s.outcome == "refused"),
        retry_after_s=_mean(s.retry_after_s for s in began),
        decode_s=_mean(s.decode_s for s in right),
        queue_s=_mean(s.queue_s for s in right),
        inference_s=_mean(s.inference_s for s in right),
        **_batches(right),
        client_cpu=window.client_cpu,
        client_lag_s=window.client_lag_s,
    )


def _batches(samples: Sequence[Sample]) -> dict[str, float | None]:
    """Batch sizes by the batch: one of four windows is reported by four samples, and counts once."""
    sizes = [(s.batch_windows, s.batch_s) for s in samples if s.batch_windows and s.batch_s]
    batches = sum(1 / windows for windows, _ in sizes)
    return {
        "batch_windows": len(sizes) / batches if sizes else None,
        "batch_most": max((windows for windows, _ in sizes), default=None),
        "batch_s": sum(seconds / windows for windows, seconds in sizes) / batches if sizes else None,
    }


def report_of(run: Run, origin: Origin, setting: Setting, model: str) -> Report:
    failures = dict.fromkeys(s.detail for s in run.samples if s.outcome in ("wrong", "error"))
    return Report(
        origin,
        setting,
        model,
        run.rest_s,
        run.left_out,
        tuple(line_of(window, run.samples) for window in run.windows),
        timeline(run.samples),
        tuple(failures)[:10],
        run.windows,
    )


def timeline(samples: Iterable[Sample]) -> tuple[Moment, ...]:
    """Latency over time: right answers by when they were asked for, in slices of a second or more."""
    right = [s for s in samples if s.outcome == "ok"]
    width = max(1.0, max((s.started for s in right), default=0.0) / TIMELINE_POINTS)
    slices: dict[int, list[float]] = {}
    for sample in right:
        slices.setdefault(int(sample.started / width), []).append(sample.latency_s)
    return tuple(
        Moment((place + 0.5) * width, *map(float, np.percentile(waits, (50, 95))))
        for place, waits in sorted(slices.items())
    )


def against(now: Report, before: Report | None) -> Report:
    """The report with each line's change of average latency since another, by label."""
    if before is None:
        return now
    then = {line.label: line.avg_s for line in before.lines}
    lines = tuple(replace(line, change=change(then.get(line.label), line.avg_s)) for line in now.lines)
    return replace(now, lines=lines, before=before.origin.taken)


def change(then: float | None, now: float | None) -> float | None:
    """How much more `now` is, as a share of `then`."""
    return now / then - 1 if then and now is not None else None


def like(a: Report, b: Report) -> bool:
    """Whether two reports were made on the same hardware with the same configuration."""
    return _setup(a) == _setup(b)


def _setup(report: Report) -> tuple[object, ...]:
    made = report.origin
    return report.setting, report.model, made.machine, made.config, made.environment


def last_like(now: Report, folder: Path) -> Report | None:
    """The newest report in a folder that `now` may be compared with."""
    found = (_readable(path) for path in folder.glob("*.json"))
    alike = [r for r in found if r and like(r, now) and r.origin.taken < now.origin.taken]
    return max(alike, key=lambda r: r.origin.taken, default=None)


def as_json(report: Report) -> str:
    return markdown.as_json(asdict(report))


def load(path: Path) -> Report:
    """Read what as_json wrote. Raises OSError or ValueError."""
    return TypeAdapter(Report).validate_json(path.read_bytes())


def _readable(path: Path) -> Report | None:
    """A report, or None for a file that is none."""
    try:
        return load(path)
    except ValueError:
        return None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def _percentile(values: Sequence[float], q: float) -> float | None:
    """The q-th percentile, 0 to 100, linear between the two nearest values."""
    return float(np.percentile(values, q)) if values else None
