"""Answers to recordings in which nobody speaks in, the words that were invented out."""

from collections.abc import Iterator, Sequence

from loadtest.quality.answer import Answer
from loadtest.quality.corpus import NONSPEECH
from loadtest.quality.report import Row
from loadtest.words import words

NOTHING = ("gen-silence", "pysilero-silence", "gen-sine", "leopard-empty")  # silence, a tone, an empty room
MOST = 10  # words, over all the rest


def rows(answers: Sequence[Answer]) -> Iterator[Row]:
    nobody = [a for a in answers if a.recording.folder == NONSPEECH]
    for engine in dict.fromkeys(a.engine for a in nobody):
        own = [a for a in nobody if a.engine == engine]
        empty = [a for a in own if a.recording.path.name.startswith(NOTHING)]
        rest = [a for a in own if a not in empty]
        yield _row(f"words in silence, tone and empty files, {engine}", empty, 0)
        yield _row(f"words in other recordings without speech, {engine}", rest, MOST)
        unfiltered = sum(len(words(a.unfiltered)) for a in own)
        windows = sum(a.transcript.windows for a in own)
        yield Row(
            f"words in all of them without filters, {engine}",
            unfiltered,
            note=f"{windows} windows went to the model; loops count by their words",
        )


def _row(what: str, answers: Sequence[Answer], most: int) -> Row:
    said = {a.recording.path.name: a.text for a in answers if a.text}
    note = "; ".join(f"{name}: {text}" for name, text in said.items()) or f"{len(answers)} recordings"
    return Row(what, sum(len(words(text)) for text in said.values()), most=most, note=note)
