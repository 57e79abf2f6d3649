"""What pieces of work gave in, figures out: a line each, medians over rounds, ratios round by round."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from loadtest.bench.plan import Job
from loadtest.bench.running import Measured
from loadtest.quality.rates import rate
from loadtest.report import percentile


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
    words: int  # words said
    cpu_per_audio_s: float  # CPU seconds per second of audio, of the peer and all it started
    peak_mb: float  # 1e6 bytes
    client_cpu: float | None  # share of one core the client took beside it; None: there was none

    @property
    def wer(self) -> float:
        return self.edits / self.words


Figure = Callable[[Line], float]


def line_of(peer: str, job: Job, number: int, measured: Measured) -> Line:
    waits = [take.latency_s for take in measured.takes]
    audio_s = sum(take.audio_s for take in measured.takes)
    wrong = rate([take.said for take in measured.takes], [take.heard for take in measured.takes], "en")
    return Line(
        peer=peer,
        workload=job.workload,
        callers=job.callers,
        round=number,
        requests=len(waits),
        requests_per_s=len(waits) / measured.wall_s,
        audio_per_s=audio_s / measured.wall_s,
        p50_s=percentile(waits, 50),
        p95_s=percentile(waits, 95),
        edits=wrong.edits,
        words=wrong.words,
        cpu_per_audio_s=measured.cpu_s / audio_s,
        peak_mb=measured.peak_mb,
        client_cpu=measured.client_cpu,
    )


def of(lines: Iterable[Line], peer: str, job: Job) -> list[Line]:
    """One contestant's lines at one job, by round."""
    found = [
        line
        for line in lines
        if (line.peer, line.workload, line.callers) == (peer, job.workload, job.callers)
    ]
    return sorted(found, key=lambda line: line.round)


def ratios(upper: Sequence[Line], lower: Sequence[Line], figure: Figure) -> list[float]:
    """Round by round, for the rounds both have: what else the machine did falls on both."""
    below = {line.round: figure(line) for line in lower}
    return [figure(line) / below[line.round] for line in upper if below.get(line.round)]


def middle(lines: Sequence[Line], figure: Figure) -> float:
    return median(figure(line) for line in lines)
