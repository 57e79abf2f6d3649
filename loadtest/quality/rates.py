"""Texts as they were said and as they were heard in, error rates out, after openai-whisper's normalisation."""

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

BLANKLESS = ("ja", "lo", "my", "th", "yue", "zh")  # words have no blanks between them: characters count


@dataclass(frozen=True, slots=True)
class Rate:
    """Of a whole corpus: edits in all by words in all."""

    edits: int  # words (or characters) to insert, delete or replace
    words: int  # in the reference

    @property
    def share(self) -> float:
        return self.edits / self.words if self.words else float(self.edits > 0)

    def __str__(self) -> str:
        return f"{self.edits} of {self.words}"


def unit(language: str | None) -> str:
    """What is counted: CER where words have no blanks, else WER."""
    return "CER" if language in BLANKLESS else "WER"


def normal(text: str, language: str | None) -> str:
    """What counts of a text; characters stand apart where they are what is counted."""
    if language == "en":
        return str(EnglishTextNormalizer()(text)).strip()
    return str(BasicTextNormalizer(split_letters=language in BLANKLESS)(text)).strip()


def rate(said: Sequence[str], heard: Sequence[str], language: str | None) -> Rate:
    """Both hold a text per recording, in the same order."""
    wanted = [normal(text, language) for text in said]
    got = [normal(text, language) for text in heard]
    found = jiwer.process_words(wanted, got)
    edits = found.substitutions + found.deletions + found.insertions
    return Rate(edits, found.hits + found.substitutions + found.deletions)


def wer(said: Sequence[str], heard: Sequence[str], language: str | None = "en") -> float:
    """Word error rate of a whole corpus; character error rate where words have no blanks."""
    return rate(said, heard, language).share
