"""Clips of many languages: which language was detected, and the error rate of their words."""

from collections.abc import Iterator, Sequence

from loadtest.common.bounds import Row
from loadtest.common.wer import normalizer, rate, unit
from loadtest.quality.corpus import ENGLISH, NONSPEECH, Answer, full_name

SURE = ("picovoice-cheetah", "festvox-ru", "wenet")  # whole sentences: their language must be detected


def rows(answers: Sequence[Answer]) -> Iterator[Row]:
    clips = [a for a in answers if a.recording.part not in (*ENGLISH, NONSPEECH)]
    for engine in dict.fromkeys(a.engine for a in clips):
        own = [a for a in clips if a.engine == engine]
        sure = [a for a in own if a.recording.part in SURE]
        yield _detected(f"language detected, {', '.join(SURE)}, {engine}", sure, 1.0)
        yield _detected(f"language detected, other clips, {engine}", [a for a in own if a not in sure], None)
        for language in sorted({a.recording.language or "" for a in own}):
            yield _rate(language, [a for a in own if a.recording.language == language], engine)


def _detected(what: str, answers: Sequence[Answer], least: float | None) -> Row:
    wrong = [a for a in answers if a.transcript.language != a.recording.language]
    missed = ", ".join(f"{full_name(a.recording)} as {a.transcript.language}" for a in wrong)
    share = 1 - len(wrong) / len(answers) if answers else 1.0
    note = f"{len(answers)} clips" + (f"; wrong: {missed}" if wrong else "")
    return Row(what, share, "%", least=least, note=note)


def _rate(language: str, answers: Sequence[Answer], engine: str) -> Row:
    """Without their language given."""
    found = rate([a.recording.text for a in answers], [a.text for a in answers], normalizer(language))
    counted = "characters" if unit(language) == "CER" else "words"
    note = f"{found} {counted}, {len(answers)} clips"
    return Row(f"{unit(language)}, {language}, {engine}", found.share, "%", note=note, digits=1)
