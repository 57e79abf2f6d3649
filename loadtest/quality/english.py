"""Word error rates on English recordings, and what the filters cost on real speech."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtest.common.bounds import Row
from loadtest.common.wer import Rate, normalizer, rate
from loadtest.quality.corpus import CLEAN, ENGLISH, LONG, OTHER, Answer, full_name

WITHIN = 0.003  # of each other's rate, engines


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the recordings, and the word error rate they may have."""

    name: str
    prefix: str  # of the recordings' names
    most: float


PARTS = (  # for Whisper base
    Part("LibriSpeech test-clean subset", f"{CLEAN}/", 0.056),
    Part("LibriSpeech test-other subset", f"{OTHER}/", 0.13),
    Part("two recordings of 8 minutes", f"{LONG}/librispeech", 0.06),
    Part("LJ001, 21 minutes", f"{LONG}/ljspeech", 0.07),
)


def rows(answers: Sequence[Answer], judge: bool) -> Iterator[Row]:
    """Without `judge`, figures without bounds: a few clips say too little."""
    engines = list(dict.fromkeys(a.engine for a in answers))
    for part in PARTS:
        own = [a for a in answers if full_name(a.recording).startswith(part.prefix)]
        if own:
            yield from _rates(part, own, engines, judge)
    every = [a for a in answers if a.recording.part in ENGLISH]
    yield from _apart("all of these", engines, [wer(every, engine) for engine in engines], judge)
    for engine in engines:
        yield from filter_cost(engine, [a for a in answers if a.engine == engine and a.recording.text])


def _apart(part: str, engines: Sequence[str], found: Sequence[Rate], judge: bool) -> Iterator[Row]:
    """How far every engine's rate is from the first one's."""
    for engine, other in zip(engines[1:], found[1:], strict=True):
        more, one = other.edits - found[0].edits, WITHIN * other.words
        note = f"{engine} has {more:+d} wrong words of {other.words}; {WITHIN:.1%} is {one:.1f} words"
        apart = abs(other.share - found[0].share)
        yield Row(f"WER, {part}, engines apart", apart, "%", WITHIN if judge else None, note=note, digits=2)


def _rates(part: Part, answers: Sequence[Answer], engines: Sequence[str], judge: bool) -> Iterator[Row]:
    found = []
    for engine in engines:
        found.append(wer(answers, engine))
        note = f"{found[-1]} words, {sum(a.engine == engine for a in answers)} recordings"
        most = part.most if judge else None
        yield Row(f"WER, {part.name}, {engine}", found[-1].share, "%", most, note=note, digits=2)
    yield from _apart(part.name, engines, found, judge)


def wer(answers: Sequence[Answer], engine: str) -> Rate:
    own = [a for a in answers if a.engine == engine]
    return rate([a.recording.text for a in own], [a.text for a in own], normalizer("en"))


def filter_cost(engine: str, answers: Sequence[Answer]) -> Iterator[Row]:
    """Edits more with filters than without, over all English recordings; segments dropped in all of them."""
    english = [a for a in answers if a.recording.language == "en"]
    references = [a.recording.text for a in english]
    with_filters = rate(references, [a.text for a in english], normalizer("en"))
    without = rate(references, [a.unfiltered for a in english], normalizer("en"))
    what, cost = f"filters' cost on English speech, {engine}", with_filters.share - without.share
    note = f"WER {with_filters.share:.2%} with, {without.share:.2%} without"
    yield Row(what, cost, "%", note=note, digits=3)
    reasons = Counter(d.reason for a in answers for d in a.transcript.dropped)
    dropped = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common()) or "none"
    yield Row(f"segments dropped in real speech, {engine}", sum(reasons.values()), note=dropped)
