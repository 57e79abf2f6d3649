"""Words: error rates by corpus and by language, languages detected, words invented where nobody speaks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtest.common.bounds import Row
from loadtest.common.wer import Rate, normalizer, rate, unit, words
from loadtest.quality.corpus import CLEAN, ENGLISH, LONG, NONSPEECH, OTHER, Answer, full_name

WITHIN = 0.003  # of each other's rate, engines
SURE = ("picovoice-cheetah", "festvox-ru", "wenet")  # whole sentences: their language must be detected
NOTHING = ("gen-silence", "pysilero-silence", "gen-sine", "leopard-empty")  # silence, a tone, an empty room
MOST = 10  # words, over all other recordings in which nobody speaks


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


def english(answers: Sequence[Answer], judge: bool) -> Iterator[Row]:
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
    own = [a for a in answers if a.recording.language == "en"]
    references = [a.recording.text for a in own]
    with_filters = rate(references, [a.text for a in own], normalizer("en"))
    without = rate(references, [a.unfiltered for a in own], normalizer("en"))
    what, cost = f"filters' cost on English speech, {engine}", with_filters.share - without.share
    note = f"WER {with_filters.share:.2%} with, {without.share:.2%} without"
    yield Row(what, cost, "%", note=note, digits=3)
    reasons = Counter(d.reason for a in answers for d in a.transcript.dropped)
    dropped = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common()) or "none"
    yield Row(f"segments dropped in real speech, {engine}", sum(reasons.values()), note=dropped)


def languages(answers: Sequence[Answer]) -> Iterator[Row]:
    """Of clips that were asked for without their language."""
    clips = [a for a in answers if a.recording.part not in (*ENGLISH, NONSPEECH)]
    for engine in dict.fromkeys(a.engine for a in clips):
        own = [a for a in clips if a.engine == engine]
        sure = [a for a in own if a.recording.part in SURE]
        yield _detected(f"language detected, {', '.join(SURE)}, {engine}", sure, 1.0)
        yield _detected(f"language detected, other clips, {engine}", [a for a in own if a not in sure], None)
        for language in sorted({a.recording.language or "" for a in own}):
            yield _language(language, [a for a in own if a.recording.language == language], engine)


def _detected(what: str, answers: Sequence[Answer], least: float | None) -> Row:
    wrong = [a for a in answers if a.transcript.language != a.recording.language]
    missed = ", ".join(f"{full_name(a.recording)} as {a.transcript.language}" for a in wrong)
    share = 1 - len(wrong) / len(answers) if answers else 1.0
    note = f"{len(answers)} clips" + (f"; wrong: {missed}" if wrong else "")
    return Row(what, share, "%", least=least, note=note)


def _language(language: str, answers: Sequence[Answer], engine: str) -> Row:
    found = rate([a.recording.text for a in answers], [a.text for a in answers], normalizer(language))
    counted = "characters" if unit(language) == "CER" else "words"
    note = f"{found} {counted}, {len(answers)} clips"
    return Row(f"{unit(language)}, {language}, {engine}", found.share, "%", note=note, digits=1)


def invented(answers: Sequence[Answer]) -> Iterator[Row]:
    nobody = [a for a in answers if a.recording.part == NONSPEECH]
    for engine in dict.fromkeys(a.engine for a in nobody):
        own = [a for a in nobody if a.engine == engine]
        empty = [a for a in own if a.recording.name.startswith(NOTHING)]
        rest = [a for a in own if a not in empty]
        yield _invented(f"words in silence, tone and empty files, {engine}", empty, 0)
        yield _invented(f"words in other recordings without speech, {engine}", rest, MOST)
        unfiltered = sum(len(words(a.unfiltered)) for a in own)
        windows = sum(a.transcript.windows for a in own)
        note = f"{windows} windows went to the model; repetitions count by their words"
        yield Row(f"words in all of them without filters, {engine}", unfiltered, note=note)


def _invented(what: str, answers: Sequence[Answer], most: int) -> Row:
    texts = {a.recording.name: a.text for a in answers if a.text}
    note = "; ".join(f"{name}: {text}" for name, text in texts.items()) or f"{len(answers)} recordings"
    return Row(what, sum(len(words(text)) for text in texts.values()), most=most, note=note)
