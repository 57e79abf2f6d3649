"""Figures of a bench: a line for each piece of work, medians over rounds, ratios round by round."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from loadtest.bench.plan import Job
from loadtest.common.client import Result
from loadtest.common.wer import normalizer, rate


@dataclass(frozen=True, slots=True)
class Measured:
    """What a piece of work gave, and what it took."""

    results: tuple[Result, ...]
    wall_s: float
    cpu_s: dict[str, float]  # by role, of the contestant and all that it started
    peak_mb: float
    client_cpu: float | None  # share of one core that the service's client took; None: there was none


@dataclass(frozen=True, slots=True)
class Line:
    """One piece of work in one round."""

    peer: str
    workload: str
    callers: int
    round: int
    requests: int
    requests_per_s: float
    audio_per_s: float  # seconds of audio, per second
    p50_s: float
    p95_s: float
    edits: int  # words wrong
    words: int  # words spoken
    cpu_per_audio_s: float  # CPU seconds per second of audio, of the peer and all it started
    peak_mb: float  # 1e6 bytes
    client_cpu: float | None  # share of one core the client took beside it; None: there was none

    @property
    def wer(self) -> float:
        return self.edits / self.words


Figure = Callable[[Line], float]


def line_of(peer: str, job: Job, number: int, measured: Measured) -> Line:
    results, wall_s = measured.results, measured.wall_s
    p50_s, p95_s = np.percentile([result.latency_s for result in results], (50, 95))
    audio_s = sum(result.clip.seconds for result in results)
    wrong = rate([r.clip.text for r in results], [r.text for r in results], normalizer("en"))
    return Line(
        peer=peer,
        workload=job.workload,
        callers=job.callers,
        round=number,
        requests=len(results),
        requests_per_s=len(results) / wall_s,
        audio_per_s=audio_s / wall_s,
        p50_s=float(p50_s),
        p95_s=float(p95_s),
        edits=wrong.edits,
        words=wrong.words,
        cpu_per_audio_s=sum(measured.cpu_s.values()) / audio_s,
        peak_mb=measured.peak_mb,
        client_cpu=measured.client_cpu,
    )


def of(lines: Iterable[Line], peer: str, job: Job) -> list[Line]:
    """One contestant's lines at one job, by round."""
    wanted = (peer, job.workload, job.callers)
    found = [line for line in lines if (line.peer, line.workload, line.callers) == wanted]
    return sorted(found, key=lambda line: line.round)


def ratios(upper: Sequence[Line], lower: Sequence[Line], figure: Figure) -> list[float]:
    """Round by round, for the rounds both have: what else the machine did falls on both."""
    below = {line.round: figure(line) for line in lower}
    return [figure(line) / below[line.round] for line in upper if below.get(line.round)]


def middle(lines: Sequence[Line], figure: Figure) -> float:
    return median(figure(line) for line in lines)
