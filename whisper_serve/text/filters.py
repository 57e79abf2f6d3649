"""A segment and the last kept one in, keep or drop out: words nobody said.

In silence and noise Whisper writes what it read most: credits, farewells, the
same words again and again. A filter sees one segment, the last one that was
kept and the language, and remembers nothing; so a streamed answer and a waited
one agree.

To add a filter: write a function that says True for what must go, and list it
in FILTERS. Phrases are in hallucinations.json: those in never_said go
whatever the model's confidence, those in sometimes_said only where it is
doubtful; case, accents, digits, spaces and punctuation do not count, and *
stands for anything.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from unicodedata import category, name, normalize

from whisper_serve.types import Segment


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """Where the filters draw their lines."""

    # Whisper's own two, from its temperature fallback.
    loop_ratio: float = 2.4  # text that zlib makes this many times smaller repeats itself
    low_logprob: float = -1.0  # below it, the words are guesses
    # Base heard real speech at 0.29 and less, but for one clip at 0.36 that it could make nothing of;
    # a song and a crowd at 0.35 to 0.51, noise and silence at 0.6 and more.
    no_speech_prob: float = 0.3  # above it, guesses, loops and farewells are not believed
    doubtful_loop_ratio: float = 1.9  # what counts as a loop there
    long_letters: int = 40  # about eight words: nobody says so many twice over without a pause
    touch_s: float = 1.0  # a shorter gap is no pause
    alphanumeric_share: float = 0.3  # of the characters; "1, 2, 3" has 0.6
    foreign_share: float = 0.5  # of the letters; names and quotations stay below


Filter = Callable[[Segment, Segment | None, str | None, FilterSettings], bool]  # True: drop it

DEFAULTS = FilterSettings()


def clean(
    segment: Segment,
    last: Segment | None,
    language: str | None,
    names: Iterable[str],
    settings: FilterSettings = DEFAULTS,
) -> str | None:
    """The name of the first filter of `names` (keys of FILTERS) that drops `segment`; None: keep it.

    `last` is the last segment that was kept, `language` that of the text (so "en" for a translation).
    """
    return next((key for key in names if FILTERS[key](segment, last, language, settings)), None)


def repetition(
    segment: Segment, last: Segment | None, language: str | None, settings: FilterSettings
) -> bool:
    """The text loops, or is the last one again where the model looped or nobody would say it twice.

    Short answers and refrains said twice stay: loops are long, and the pass that
    made them is compressible as a whole.
    """
    if _ratio(segment.text) > settings.loop_ratio:
        return True
    words = _letters(segment.text)
    if last is None or not words or words != _letters(last.text):
        return False
    touching = segment.start - last.end < settings.touch_s
    return segment.compression_ratio > settings.loop_ratio or (
        touching and len(words) >= settings.long_letters
    )


def phrases(segment: Segment, last: Segment | None, language: str | None, settings: FilterSettings) -> bool:
    """The whole text is a credit, or is a stock phrase of its language or English that the model doubts."""
    text = _letters(segment.text)
    if _phrasebook("never_said", None).fullmatch(text):
        return True
    book = _phrasebook("sometimes_said", language)
    return _doubtful(segment, settings) and book.fullmatch(text) is not None


def alphanumeric(
    segment: Segment, last: Segment | None, language: str | None, settings: FilterSettings
) -> bool:
    """Hardly any letter or digit is left once notes on sounds, such as [Music], are taken away."""
    text = _ONE_OF_A_RUN.sub(r"\1", _SOUND_NOTE.sub("", segment.text))
    marks = [category(char)[0] for char in text if not char.isspace()]
    told = sum(mark in "LNM" for mark in marks)  # letters, numbers, the vowel signs of India
    return told <= settings.alphanumeric_share * len(marks)


def script(segment: Segment, last: Segment | None, language: str | None, settings: FilterSettings) -> bool:
    """Most letters are of a script the language is not written in.

    Latin is at home everywhere, as brands and quotations are, unless the model doubts it.
    """
    if language is None:
        return False
    own = SCRIPTS.get(language, ("LATIN",))
    found = [found for char in normalize("NFKC", segment.text) if (found := _script(char))]
    if not _doubtful(segment, settings):
        own = (*own, "LATIN")
    return sum(one not in own for one in found) > settings.foreign_share * len(found)


def no_speech(segment: Segment, last: Segment | None, language: str | None, settings: FilterSettings) -> bool:
    """The model heard no speech and its words are no evidence against that: guesses, or a loop.

    A loop is sure of itself (base: mean log-probability -0.2 on noise), so its confidence counts for nothing.
    """
    loops = segment.compression_ratio > min(settings.doubtful_loop_ratio, settings.loop_ratio)
    guessed = segment.avg_logprob < settings.low_logprob or loops
    return segment.no_speech_prob > settings.no_speech_prob and guessed


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


def _doubtful(segment: Segment, settings: FilterSettings) -> bool:
    return segment.no_speech_prob > settings.no_speech_prob or segment.avg_logprob < settings.low_logprob


def _ratio(text: str) -> float:
    """How many times smaller zlib makes a text, one byte a character: in UTF-8 half the world seems to repeat."""
    codes = {char: code % 256 for code, char in enumerate(dict.fromkeys(text))}
    return len(text) / len(zlib.compress(bytes(codes[char] for char in text)))


def _letters(text: str) -> str:
    """A text's letters, without case and accents."""
    return "".join(char for char in normalize("NFKD", text).casefold() if char.isalpha())


@lru_cache(maxsize=4096)
def _script(char: str) -> str | None:
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
