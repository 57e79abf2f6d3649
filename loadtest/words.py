"""Two texts in, the share of words that differ out."""

import re
from functools import lru_cache

import numpy as np

_APOSTROPHES = re.compile("['\u2019]")
_NO_WORD = re.compile(r"[\W_]+")


def words(text: str) -> list[str]:
    """The words of a text, without case, punctuation and apostrophes."""
    return _NO_WORD.sub(" ", _APOSTROPHES.sub("", text.casefold())).split()


@lru_cache(maxsize=65_536)
def word_error_rate(reference: str, heard: str) -> float:
    """Words to insert, delete or replace, per word of the reference; 0 is the same, it can pass 1.

    Where the reference has no words: 0 if nothing was heard, else 1. Remembered,
    because under load the same clip is answered the same way a thousand times.
    """
    wanted, got = words(reference), words(heard)
    if wanted == got:
        return 0.0
    return _edits(wanted, got) / len(wanted) if wanted else 1.0


def _edits(wanted: list[str], got: list[str]) -> int:
    """Levenshtein distance over words; one numpy pass per word of the reference."""
    numbers = {word: number for number, word in enumerate({*wanted, *got})}
    heard = np.array([numbers[word] for word in got], dtype=np.int64)
    columns = np.arange(len(heard) + 1)
    row = columns.copy()
    for word in wanted:
        kept = np.minimum(row[1:] + 1, row[:-1] + (heard != numbers[word]))
        ends = np.concatenate(([row[0] + 1], kept))
        row = np.minimum.accumulate(ends - columns) + columns  # insertions run along the row
    return int(row[-1])
