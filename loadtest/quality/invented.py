"""Words invented in recordings in which nobody speaks."""

from collections.abc import Iterator, Sequence

from loadtest.common.bounds import Row
from loadtest.common.wer import words
from loadtest.quality.corpus import NONSPEECH, Answer

NOTHING = ("gen-silence", "pysilero-silence", "gen-sine", "leopard-empty")  # silence, a tone, an empty room
MOST = 10  # words, over all the rest


def rows(answers: Sequence[Answer]) -> Iterator[Row]:
    nobody = [a for a in answers if a.recording.part == NONSPEECH]
    for engine in dict.fromkeys(a.engine for a in nobody):
        own = [a for a in nobody if a.engine == engine]
        empty = [a for a in own if a.recording.name.startswith(NOTHING)]
        rest = [a for a in own if a not in empty]
        yield _row(f"words in silence, tone and empty files, {engine}", empty, 0)
        yield _row(f"words in other recordings without speech, {engine}", rest, MOST)
        unfiltered = sum(len(words(a.unfiltered)) for a in own)
        windows = sum(a.transcript.windows for a in own)
        note = f"{windows} windows went to the model; repetitions count by their words"
        yield Row(f"words in all of them without filters, {engine}", unfiltered, note=note)


def _row(what: str, answers: Sequence[Answer], most: int) -> Row:
    texts = {a.recording.name: a.text for a in answers if a.text}
    note = "; ".join(f"{name}: {text}" for name, text in texts.items()) or f"{len(answers)} recordings"
    return Row(what, sum(len(words(text)) for text in texts.values()), most=most, note=note)
