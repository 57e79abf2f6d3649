"""Filters that drop segments of words nobody said.

In silence and noise Whisper writes what its training texts are full of: credits, farewells, the
same words again and again. A filter is given one segment, the last one that was
kept and the language, and keeps no state; so streamed and complete answers agree.

To add a filter: write a function that returns True for a segment to drop, and list it
in FILTERS. Phrases are in hallucinations.json: those in never_said are dropped
whatever the model's confidence, those in sometimes_said only where it is
low; case, accents, digits, spaces and punctuation do not count, and *
stands for anything.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from unicodedata import category, name, normalize

from whisper_serve.types import Segment


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a text is not believed. Bounds and descriptions are those of the config's section `quality`."""

    compression_ratio_threshold: float = field(
        default=2.4,  # Whisper's own, as the next
        metadata={
            "gt": 0,
            "description": "text that zlib makes more than this many times smaller is repetitive: "
            "retry at a higher temperature",
        },
    )
    logprob_threshold: float = field(
        default=-1.0,
        metadata={
            "le": 0,
            "description": "mean log-probability of tokens below which to retry at a higher temperature",
        },
    )
    # Base transcribed real speech at 0.29 and less, but for one clip at 0.36 that it could make nothing of;
    # a song and a crowd at 0.35 to 0.51, noise and silence at 0.6 and more.
    no_speech_threshold: float = field(
        default=0.3,
        metadata={
            "ge": 0,
            "le": 1,
            "description": "no-speech probability above which unlikely or repetitive text counts as silence",
        },
    )
    language_threshold: float = field(
        default=0.8,
        metadata={
            "gt": 0,
            "le": 1,
            "description": "probability from which another language than the given one is surely spoken: "
            "no more temperatures are tried, and the answer warns",
        },
    )


DOUBTFUL_COMPRESSION_RATIO = 1.9  # what is repetitive above the no-speech threshold
LONG_LETTERS = 40  # about eight words: nobody says so many twice over without a pause
MIN_PAUSE_S = 1.0  # between two segments
ALPHANUMERIC_SHARE = 0.3  # of the characters; "1, 2, 3" has 0.6
FOREIGN_SHARE = 0.5  # of the letters; names and quotations stay below

Filter = Callable[[Segment, Segment | None, str | None, Thresholds], bool]  # True: drop it

DEFAULTS = Thresholds()


def clean(
    segment: Segment,
    last: Segment | None,
    language: str | None,
    names: Iterable[str],
    settings: Thresholds = DEFAULTS,
) -> str | None:
    """The name of the first filter of `names` (keys of FILTERS) that drops `segment`; None: keep it.

    `last` is the last segment that was kept, `language` that of the text (so "en" for a translation).
    """
    return next((key for key in names if FILTERS[key](segment, last, language, settings)), None)


def repetition(segment: Segment, last: Segment | None, language: str | None, settings: Thresholds) -> bool:
    """The text is repetitive, or is the last one again where the model repeated itself or nobody would say it twice.

    Short answers and refrains said twice are kept: what the model repeats is long, and
    all text of its window together is compressible.
    """
    if _compression_ratio(segment.text) > settings.compression_ratio_threshold:
        return True
    words = _letters(segment.text)
    if last is None or not words or words != _letters(last.text):
        return False
    without_pause = segment.start - last.end < MIN_PAUSE_S
    return segment.compression_ratio > settings.compression_ratio_threshold or (
        without_pause and len(words) >= LONG_LETTERS
    )


def phrases(segment: Segment, last: Segment | None, language: str | None, settings: Thresholds) -> bool:
    """The whole text is a credit, or is a stock phrase of its language or English, and the model is unsure of it."""
    text = _letters(segment.text)
    if _phrasebook("never_said", None).fullmatch(text):
        return True
    book = _phrasebook("sometimes_said", language)
    return _doubtful(segment, settings) and book.fullmatch(text) is not None


def alphanumeric(segment: Segment, last: Segment | None, language: str | None, settings: Thresholds) -> bool:
    """Hardly any letter or digit is left once notes on sounds, such as [Music], are taken away."""
    text = _ONE_OF_A_RUN.sub(r"\1", _SOUND_NOTE.sub("", segment.text))
    marks = [category(char)[0] for char in text if not char.isspace()]
    alphanumerics = sum(mark in "LNM" for mark in marks)  # letters, numbers, the vowel signs of India
    return alphanumerics <= ALPHANUMERIC_SHARE * len(marks)


def script(segment: Segment, last: Segment | None, language: str | None, settings: Thresholds) -> bool:
    """Most letters are of a script the language is not written in.

    Latin is accepted in every language, for brands and quotations, unless the model is unsure of it.
    """
    if language is None:
        return False
    own = SCRIPTS.get(language, ("LATIN",))
    found = [found for char in normalize("NFKC", segment.text) if (found := script_of(char))]
    if not _doubtful(segment, settings):
        own = (*own, "LATIN")
    return sum(one not in own for one in found) > FOREIGN_SHARE * len(found)


def no_speech(segment: Segment, last: Segment | None, language: str | None, settings: Thresholds) -> bool:
    """The model found no speech, and its words are no evidence against that: guesses, or a repetitive text.

    A repetitive text has a high probability (base: mean log-probability -0.2 on noise), so that counts for nothing.
    """
    ratio = min(DOUBTFUL_COMPRESSION_RATIO, settings.compression_ratio_threshold)
    guessed = segment.avg_logprob < settings.logprob_threshold or segment.compression_ratio > ratio
    return segment.no_speech_prob > settings.no_speech_threshold and guessed


FILTERS: dict[str, Filter] = {
    "no_speech": no_speech,
    "alphanumeric": alphanumeric,
    "script": script,
    "phrases": phrases,
    "repetition": repetition,
}

# What Whisper's languages are written in, as Unicode names scripts; the rest are written in Latin.
SCRIPTS = {
    **dict.fromkeys(["ba", "be", "bg", "mk", "mn", "ru", "tg", "uk"], ("CYRILLIC",)),
    **dict.fromkeys(["az", "bs", "kk", "sr", "tk", "tt", "uz"], ("CYRILLIC", "LATIN")),
    **dict.fromkeys(["ar", "fa", "ps", "ur"], ("ARABIC",)),
    **dict.fromkeys(["hi", "mr", "ne", "sa"], ("DEVANAGARI",)),
    **dict.fromkeys(["as", "bn"], ("BENGALI",)),
    **dict.fromkeys(["he", "yi"], ("HEBREW",)),
    **dict.fromkeys(["yue", "zh"], ("CJK", "BOPOMOFO")),
    "am": ("ETHIOPIC",),
    "bo": ("TIBETAN",),
    "el": ("GREEK",),
    "gu": ("GUJARATI",),
    "hy": ("ARMENIAN",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "ka": ("GEORGIAN",),
    "km": ("KHMER",),
    "kn": ("KANNADA",),
    "ko": ("HANGUL", "CJK"),
    "lo": ("LAO",),
    "ml": ("MALAYALAM",),
    "my": ("MYANMAR",),
    "pa": ("GURMUKHI", "ARABIC"),
    "sd": ("ARABIC", "DEVANAGARI"),
    "si": ("SINHALA",),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "th": ("THAI",),
}
_KNOWN = {"LATIN"}.union(*SCRIPTS.values())

_SOUND_NOTE = re.compile(r"\[[^\]]*\]|\([^)]*\)|（[^）]*）|【[^】]*】|\*[^*]*\*")
_ONE_OF_A_RUN = re.compile(r"([^\w\s])\1+")  # "..." is one mark


def _doubtful(segment: Segment, settings: Thresholds) -> bool:
    no_speech = segment.no_speech_prob > settings.no_speech_threshold
    return no_speech or segment.avg_logprob < settings.logprob_threshold


def _compression_ratio(text: str) -> float:
    """How many times smaller zlib makes a text, at one byte a character: UTF-8 makes many scripts seem repetitive."""
    codes = {char: code % 256 for code, char in enumerate(dict.fromkeys(text))}
    return len(text) / len(zlib.compress(bytes(codes[char] for char in text)))


def _letters(text: str) -> str:
    """A text's letters, without case and accents."""
    return "".join(char for char in normalize("NFKD", text).casefold() if char.isalpha())


@lru_cache(maxsize=4096)
def script_of(char: str) -> str | None:
    """The script of a letter; None for other characters, and for scripts of no language here."""
    if not char.isalpha():
        return None
    found = name(char, "").replace("-", " ").partition(" ")[0]
    return "CJK" if found == "IDEOGRAPHIC" else found if found in _KNOWN else None


@cache
def _phrasebook(kind: str, language: str | None) -> re.Pattern[str]:
    """One pattern for all phrases of a kind: those of `language` and of English, or of every language."""
    text = files("whisper_serve.text").joinpath("hallucinations.json").read_text("utf-8")
    books: dict[str, list[str]] = json.loads(text)[kind]
    chosen = [
        line for key, book in books.items() if language is None or key in ("en", language) for line in book
    ]
    return re.compile("|".join(".*".join(map(_letters, line.split("*"))) for line in chosen))
