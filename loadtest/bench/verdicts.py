"""Lines in, what they say against the bounds out. To add a bound: a row in `verdicts`."""

from collections.abc import Iterator, Sequence
from statistics import median

from loadtest.bench.figures import Figure, Line, middle, of, ratios
from loadtest.bench.plan import CROWD, FASTER_WHISPER, FULL_CONTEXT, ONE_REPLICA, SERVICE, Job
from loadtest.bench.workloads import MIX, ONE_LONG, SHORT
from loadtest.quality.report import Row

TIMES_AS_FAST = 4.0  # as faster-whisper, on short clips
TIMES_AS_FAST_LONG = 1.5  # as its batched pipeline, on one long file
TWO_REPLICAS = 1.87  # times as fast as one
APART = 0.002  # word error rates with adaptive and with full context

Lines = Sequence[Line]


def verdicts(lines: Lines, replicas: int, judge_words: bool) -> list[Row]:
    """A row for each comparison whose two sides were measured.

    Without `judge_words`, word error rates have no bounds: a few clips say too little.
    """

    def pair(other: str, workload: str, callers: int) -> tuple[Lines, Lines]:
        job = Job(workload, callers)
        return of(lines, SERVICE, job), of(lines, other, job)

    crowd = pair(FASTER_WHISPER, SHORT, CROWD)
    scaled = pair(ONE_REPLICA, SHORT, CROWD)
    two = TWO_REPLICAS if replicas == 2 else None
    return [
        *times(
            f"requests/s, short clips, {CROWD} callers, to faster-whisper's",
            crowd,
            per_s,
            least=TIMES_AS_FAST,
        ),
        *times("p50, one caller, to faster-whisper's", pair(FASTER_WHISPER, SHORT, 1), p50, most=1.0),
        *times(
            "speed, one long file, to faster-whisper's in batches",
            pair(FASTER_WHISPER, ONE_LONG, 1),
            audio,
            least=TIMES_AS_FAST_LONG,
        ),
        *times(f"speed, mix, {CROWD} callers, to faster-whisper's", pair(FASTER_WHISPER, MIX, CROWD), audio),
        *times(f"requests/s, {replicas} replicas, to 1 replica's", scaled, per_s, least=two),
        *apart(
            "WER, one long file, above faster-whisper's", pair(FASTER_WHISPER, ONE_LONG, 1), judge_words, 0.0
        ),
        *apart("WER, short clips, above faster-whisper's", crowd, False, 0.0),
        *apart(
            "WER, short clips, above full context's", pair(FULL_CONTEXT, SHORT, CROWD), judge_words, APART
        ),
    ]


def per_s(line: Line) -> float:
    return line.requests_per_s


def audio(line: Line) -> float:
    return line.audio_per_s


def p50(line: Line) -> float:
    return line.p50_s


def times(
    what: str,
    pair: tuple[Lines, Lines],
    figure: Figure,
    least: float | None = None,
    most: float | None = None,
) -> Iterator[Row]:
    """The median of the rounds' ratios; the note has them all, and both sides' medians."""
    found = ratios(*pair, figure)
    if not found:
        return
    ours, theirs = (middle(side, figure) for side in pair)
    each = ", ".join(f"{ratio:.2f}" for ratio in found)
    note = f"{ours:.3g} to {theirs:.3g}; by rounds {each}"
    yield Row(what, median(found), "times", most, least, note, digits=2)


def apart(what: str, pair: tuple[Lines, Lines], judge: bool, most: float) -> Iterator[Row]:
    """How much larger the first word error rate is, of all rounds together."""
    if not all(pair):
        return
    ours, theirs = (sum(line.edits for line in side) / sum(line.words for line in side) for side in pair)
    note = f"{ours:.2%} to {theirs:.2%}"
    yield Row(what, ours - theirs, "%", most if judge else None, note=note, digits=2)
