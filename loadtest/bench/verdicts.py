"""Comparisons of the service with its peers, and their bounds. To add a bound: a row in `verdicts`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from loadtest.bench.figures import Figure, Line, middle, of, ratios
from loadtest.bench.plan import CROWD, FASTER_WHISPER, FULL_CONTEXT, ONE_REPLICA, SERVICE, Job
from loadtest.bench.workloads import MIX, ONE_LONG, SHORT
from loadtest.common.bounds import Row

TIMES_AS_FAST = 4.0  # as faster-whisper, on short clips
TIMES_AS_FAST_LONG = 1.5  # as its batched pipeline, on one long file
TWO_REPLICAS = 1.87  # times as fast as one
APART = 0.002  # word error rates with adaptive and with full context


@dataclass(frozen=True, slots=True)
class Sides:
    """The service's lines at a job, and another's."""

    ours: Sequence[Line]
    theirs: Sequence[Line]

    def times(
        self, what: str, figure: Figure, least: float | None = None, most: float | None = None
    ) -> Iterator[Row]:
        """The median of the rounds' ratios; the note has them all, and both sides' medians."""
        if found := ratios(self.ours, self.theirs, figure):
            each = ", ".join(f"{ratio:.2f}" for ratio in found)
            ours, theirs = middle(self.ours, figure), middle(self.theirs, figure)
            note = f"{ours:.3g} to {theirs:.3g}; by rounds {each}"
            yield Row(what, median(found), "times", most, least, note, digits=2)

    def wer_apart(self, what: str, most: float | None) -> Iterator[Row]:
        """How much larger the first word error rate is, of all rounds together."""
        if self.ours and self.theirs:
            sides = (self.ours, self.theirs)
            ours, theirs = (sum(x.edits for x in side) / sum(x.words for x in side) for side in sides)
            yield Row(what, ours - theirs, "%", most, note=f"{ours:.2%} to {theirs:.2%}", digits=2)


def verdicts(lines: Sequence[Line], replicas: int, judge_words: bool) -> list[Row]:
    """A row for each comparison whose two sides were measured.

    Without `judge_words`, word error rates have no bounds: a few clips say too little.
    """

    def to(other: str, workload: str, callers: int) -> Sides:
        job = Job(workload, callers)
        return Sides(of(lines, SERVICE, job), of(lines, other, job))

    crowd, single = to(FASTER_WHISPER, SHORT, CROWD), to(FASTER_WHISPER, SHORT, 1)
    long, mix = to(FASTER_WHISPER, ONE_LONG, 1), to(FASTER_WHISPER, MIX, CROWD)
    scaled, full = to(ONE_REPLICA, SHORT, CROWD), to(FULL_CONTEXT, SHORT, CROWD)
    two = TWO_REPLICAS if replicas == 2 else None
    none_more, apart = (0.0, APART) if judge_words else (None, None)
    per_s = f"requests/s, short clips, {CROWD} callers, to faster-whisper's"
    in_batches = "speed, one long file, to faster-whisper's in batches"
    return [
        *crowd.times(per_s, lambda line: line.requests_per_s, TIMES_AS_FAST),
        *single.times("p50, one caller, to faster-whisper's", lambda line: line.p50_s, most=1.0),
        *long.times(in_batches, lambda line: line.audio_per_s, TIMES_AS_FAST_LONG),
        *mix.times(f"speed, mix, {CROWD} callers, to faster-whisper's", lambda line: line.audio_per_s),
        *scaled.times(f"requests/s, {replicas} replicas, to 1 replica's", lambda x: x.requests_per_s, two),
        *long.wer_apart("WER, one long file, above faster-whisper's", none_more),
        *crowd.wer_apart("WER, short clips, above faster-whisper's", None),
        *full.wer_apart("WER, short clips, above full context's", apart),
    ]
