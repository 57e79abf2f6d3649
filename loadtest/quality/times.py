"""Word times: whether they keep their place, and how well those of two engines agree."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

from loadtest.common.bounds import Row
from loadtest.common.wer import words as spelled
from loadtest.quality.corpus import CLEAN, OTHER, Answer, full_name
from whisper_serve.types import Transcript, Word

APART_S = 0.08
ROUNDING_S = 1e-6


def rows(answers: Sequence[Answer]) -> Iterator[Row]:
    """Of all words with times; and between the first two engines, over the short English clips."""
    timed = [a for a in answers if a.recording.text]
    count = sum(len(words_of(a.transcript)) for a in timed)
    if count:
        yield from _places(timed, count)
    engines = list(dict.fromkeys(a.engine for a in answers))
    if len(engines) > 1:
        short = [a for a in answers if a.recording.part in (CLEAN, OTHER)]
        yield from _apart(short, engines[0], engines[1])


def _places(answers: Sequence[Answer], count: int) -> Iterator[Row]:
    of = f"of {count} words, all engines"
    for what, wrong in (
        ("word times outside the recording", outside),
        ("word times outside their segment", outside_segment),
        ("word times not in order", disordered),
    ):
        yield Row(what, sum(wrong(a.transcript) for a in answers) / count, "%", most=0, note=of, digits=2)


def _apart(answers: Sequence[Answer], one: str, other: str) -> Iterator[Row]:
    texts = {(a.engine, full_name(a.recording)): words_of(a.transcript) for a in answers}
    names = {full_name(a.recording) for a in answers}
    matched = [pair for n in names for pair in match(texts[one, n], texts[other, n])]
    starts = [abs(a.start - b.start) for a, b in matched]
    ends = [abs(a.end - b.end) for a, b in matched]
    if matched:
        for what, apart in (("starts", starts), ("ends", ends)):
            middle, most = np.percentile(apart, (50, 95))
            note = f"{one} and {other}, {len(matched)} words of both; 95 in 100 within {most:.2f} s"
            what = f"words' {what}, median difference between engines"
            yield Row(what, float(middle), "s", APART_S, note=note, digits=3)


def words_of(transcript: Transcript) -> list[Word]:
    return [word for segment in transcript.segments for word in segment.words]


def match(left: Sequence[Word], right: Sequence[Word]) -> list[tuple[Word, Word]]:
    """The words that both have, in the same order."""
    keys = [["".join(spelled(word.text)) for word in side] for side in (left, right)]
    blocks = SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_matching_blocks()
    return [(left[b.a + i], right[b.b + i]) for b in blocks for i in range(b.size)]


def outside(transcript: Transcript) -> int:
    """Words that begin before the recording or end after it."""
    end = transcript.duration + ROUNDING_S
    return sum(not 0 <= word.start <= word.end <= end for word in words_of(transcript))


def outside_segment(transcript: Transcript) -> int:
    return sum(
        not s.start - ROUNDING_S <= w.start <= w.end <= s.end + ROUNDING_S
        for s in transcript.segments
        for w in s.words
    )


def disordered(transcript: Transcript) -> int:
    """Words that begin before the one before them has ended."""
    return sum(b.start < a.end - ROUNDING_S for a, b in pairwise(words_of(transcript)))
