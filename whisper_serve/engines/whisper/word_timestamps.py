"""Word timestamps from an alignment of tokens with encoder steps, corrected as openai-whisper does.

Alignment by attention draws words out over the pauses around them and gives
punctuation a time of its own; both are mended here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from whisper.timing import merge_punctuations
from whisper.tokenizer import Tokenizer

from whisper_serve.engines.whisper.prompt import TIMESTAMP_S
from whisper_serve.types import Word

SENTENCE_ENDS = ".。!！?？"
LEADING = "\"'“¿([{-"  # belongs to the word after it
TRAILING = "\"'.。,，!！?？:：”)]}、"  # belongs to the word before it
LONGEST_TYPICAL_S = 0.7
SLACK_S = 0.5  # further than this from its segment's timestamp, a word's edge is not believed


@dataclass(slots=True)
class Timing:
    """A word as aligned. Mutable, because openai-whisper merges punctuation in place."""

    word: str
    tokens: list[int]
    start: float  # seconds from the start of the audio
    end: float
    probability: float


def as_timings(
    pairs: Sequence[tuple[int, int]],
    probabilities: Sequence[float],
    text: Sequence[int],
    tokenizer: Tokenizer,
) -> list[Timing]:
    """An alignment as words: `pairs` are (token, encoder step of 0.02 s), `probabilities` those of the tokens."""
    words, word_tokens = tokenizer.split_to_word_tokens([*text, tokenizer.eot])
    if len(words) <= 1:  # the end-of-text alone
        return []
    token, step = np.array(pairs).T
    begins = step[np.diff(token, prepend=-1) > 0] * TIMESTAMP_S  # of each token, the end-of-text last
    edges = np.cumsum([0, *(len(t) for t in word_tokens[:-1])])
    return [
        Timing(word, list(ids), float(begins[i]), float(begins[j]), float(np.mean(probabilities[i:j])))
        for word, ids, i, j in zip(words, word_tokens, edges, edges[1:], strict=False)
    ]


def settle(timings: Sequence[Timing]) -> tuple[Timing, ...]:
    """Shorten the words around sentence ends to twice the median, and join punctuation to its word."""
    words = [replace(t) for t in timings]
    longest = 2 * typical(words)
    for before, word in pairwise(words):
        if word.end - word.start > longest > 0:
            if word.word in SENTENCE_ENDS:
                word.end = word.start + longest
            elif before.word in SENTENCE_ENDS:
                word.start = word.end - longest
    merge_punctuations(words, LEADING, TRAILING)
    return tuple(words)


def typical(words: Sequence[Timing]) -> float:
    """Median length in seconds of the words that have one, at most LONGEST_TYPICAL_S."""
    lengths = [w.end - w.start for w in words if w.end > w.start]
    return min(LONGEST_TYPICAL_S, float(np.median(lengths))) if lengths else 0.0


def clamp(
    words: Sequence[Timing], start: float, end: float, floor: float, ceiling: float
) -> tuple[Word, ...]:
    """The words of the segment from `start` to `end`, in order, between `floor` and `ceiling`.

    A first or last word that reaches far out of its segment is drawn out over
    a pause: it begins, or ends, where the segment does.
    """
    spoken = [replace(w) for w in words if w.word]
    if not spoken:
        return ()
    first, last = spoken[0], spoken[-1]
    usual = typical(spoken)
    if first.start < start - SLACK_S and first.end > start:
        first.start = max(0.0, min(first.end - usual, start))
    if last.end > end + SLACK_S and last.start < end:
        last.end = max(last.start + usual, end)
    clamped = []
    for word in spoken:
        began = min(max(word.start, floor), ceiling)
        floor = min(max(word.end, began), ceiling)
        clamped.append(Word(began, floor, word.word, word.probability))
    return tuple(clamped)
