"""Word error rates (edits by words of the reference), of one text or of a whole corpus, by jiwer."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import jiwer

BLANKLESS = ("ja", "lo", "my", "th", "yue", "zh")  # words have no blanks between them: characters count
_APOSTROPHES = re.compile("['\u2019]")
_NO_WORD = re.compile(r"[\W_]+")

Normalizer = Callable[[str], str]  # a text -> what counts of it, words apart by blanks


@dataclass(frozen=True, slots=True)
class Rate:
    """Of a whole corpus: edits in all by words in all."""

    edits: int  # words (or characters) to insert, delete or replace
    words: int  # in the reference

    @property
    def share(self) -> float:
        """It can pass 1. Where the reference has no words: 0 if there are no edits, else 1."""
        return self.edits / self.words if self.words else float(self.edits > 0)

    def __str__(self) -> str:
        return f"{self.edits} of {self.words}"


def words(text: str) -> list[str]:
    """The words of a text, without case, punctuation and apostrophes."""
    return _NO_WORD.sub(" ", _APOSTROPHES.sub("", text.casefold())).split()


def plain(text: str) -> str:
    return " ".join(words(text))


@cache
def normalizer(language: str | None) -> Normalizer:
    """openai-whisper's; where words have no blanks, characters stand apart. Loads torch."""
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    english, blankless = language == "en", language in BLANKLESS
    normal: Normalizer = EnglishTextNormalizer() if english else BasicTextNormalizer(split_letters=blankless)
    return normal


def unit(language: str | None) -> str:
    """What is counted: CER where words have no blanks, else WER."""
    return "CER" if language in BLANKLESS else "WER"


def rate(references: Sequence[str], texts: Sequence[str], normal: Normalizer) -> Rate:
    """Both hold a text per recording, in the same order."""
    found = jiwer.process_words([normal(t).strip() for t in references], [normal(t).strip() for t in texts])
    edits = found.substitutions + found.deletions + found.insertions
    return Rate(edits, found.hits + found.substitutions + found.deletions)


def wer(references: Sequence[str], texts: Sequence[str], language: str | None = "en") -> float:
    """Word error rate of a corpus after openai-whisper's normalisation; characters where words have no blanks."""
    return rate(references, texts, normalizer(language)).share


@lru_cache(maxsize=65_536)
def text_wer(reference: str, text: str) -> float:
    """Of one text, by its plain words. Cached: under load the same clip has the same answer a thousand times."""
    return rate([reference], [text], plain).share
