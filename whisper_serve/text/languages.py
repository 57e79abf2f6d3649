"""The table of Whisper's languages: ISO 639-1 code (or Whisper's own) to English name, and back.

The same as whisper.tokenizer.LANGUAGES (a test compares them), without importing torch. Other codes of ISO 639 and
region or script after a code are reduced to these by langcodes.
"""

import difflib
from collections.abc import Iterable

from langcodes import standardize_tag
from langcodes.tag_parser import LanguageTagError

LANGUAGES = {
    "en": "english",
    "zh": "chinese",
    "de": "german",
    "es": "spanish",
    "ru": "russian",
    "ko": "korean",
    "fr": "french",
    "ja": "japanese",
    "pt": "portuguese",
    "tr": "turkish",
    "pl": "polish",
    "ca": "catalan",
    "nl": "dutch",
    "ar": "arabic",
    "sv": "swedish",
    "it": "italian",
    "id": "indonesian",
    "hi": "hindi",
    "fi": "finnish",
    "vi": "vietnamese",
    "he": "hebrew",
    "uk": "ukrainian",
    "el": "greek",
    "ms": "malay",
    "cs": "czech",
    "ro": "romanian",
    "da": "danish",
    "hu": "hungarian",
    "ta": "tamil",
    "no": "norwegian",
    "th": "thai",
    "ur": "urdu",
    "hr": "croatian",
    "bg": "bulgarian",
    "lt": "lithuanian",
    "la": "latin",
    "mi": "maori",
    "ml": "malayalam",
    "cy": "welsh",
    "sk": "slovak",
    "te": "telugu",
    "fa": "persian",
    "lv": "latvian",
    "bn": "bengali",
    "sr": "serbian",
    "az": "azerbaijani",
    "sl": "slovenian",
    "kn": "kannada",
    "et": "estonian",
    "mk": "macedonian",
    "br": "breton",
    "eu": "basque",
    "is": "icelandic",
    "hy": "armenian",
    "ne": "nepali",
    "mn": "mongolian",
    "bs": "bosnian",
    "kk": "kazakh",
    "sq": "albanian",
    "sw": "swahili",
    "gl": "galician",
    "mr": "marathi",
    "pa": "punjabi",
    "si": "sinhala",
    "km": "khmer",
    "sn": "shona",
    "yo": "yoruba",
    "so": "somali",
    "af": "afrikaans",
    "oc": "occitan",
    "ka": "georgian",
    "be": "belarusian",
    "tg": "tajik",
    "sd": "sindhi",
    "gu": "gujarati",
    "am": "amharic",
    "yi": "yiddish",
    "lo": "lao",
    "uz": "uzbek",
    "fo": "faroese",
    "ht": "haitian creole",
    "ps": "pashto",
    "tk": "turkmen",
    "nn": "nynorsk",
    "mt": "maltese",
    "sa": "sanskrit",
    "lb": "luxembourgish",
    "my": "myanmar",
    "bo": "tibetan",
    "tl": "tagalog",
    "mg": "malagasy",
    "as": "assamese",
    "tt": "tatar",
    "haw": "hawaiian",
    "ln": "lingala",
    "ha": "hausa",
    "ba": "bashkir",
    "jw": "javanese",
    "su": "sundanese",
    "yue": "cantonese",
}

# Other names of the same languages.
ALIASES = {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "pushto": "ps",
    "panjabi": "pa",
    "moldavian": "ro",
    "moldovan": "ro",
    "sinhalese": "si",
    "castilian": "es",
    "mandarin": "zh",
    "bokmal": "no",
    "bokm\u00e5l": "no",
    "filipino": "tl",
    "farsi": "fa",
}

# ISO 639's codes of languages for which Whisper has another.
OTHER_CODES = {"nb": "no", "jv": "jw", "fil": "tl"}

# Given in place of a language: it is to be detected. ISO 639's undetermined and multiple languages.
DETECT = frozenset({"auto", "und", "mul"})

CODES = {name: code for code, name in LANGUAGES.items()} | ALIASES


def language_code(given: str) -> str | None:
    """ "en", "EN", "eng", "english" or "en-US" -> "en"; None where Whisper has no such language."""
    name = given.strip().lower()
    if name in CODES:
        return CODES[name]
    code = name.replace("_", "-").split("-")[0]
    code = code if code in LANGUAGES else iso_639_1(code)
    code = OTHER_CODES.get(code, code)
    return code if code in LANGUAGES else None


def iso_639_1(code: str) -> str:
    """ "deu" and "ger" -> "de", and a dialect's code, such as "cmn", that of its language; others as they are."""
    try:
        return standardize_tag(code, macro=True).split("-")[0]
    except LanguageTagError:
        return code


def language_codes(given: Iterable[str]) -> tuple[str, ...]:
    """The codes of languages given one by one or joined by commas, each once; empty where one is to be detected.

    ValueError for one that Whisper does not know.
    """
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    codes = [known_code(name) for name in names if name.lower() not in DETECT]
    return tuple(dict.fromkeys(codes)) if len(codes) == len(names) else ()


def known_code(given: str) -> str:
    """The language's code; ValueError for one that Whisper does not know."""
    code = language_code(given)
    if code is None:
        close = difflib.get_close_matches(given.lower(), CODES, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"{given!r} is not a language that Whisper knows; give a code such as en, de or ja{meant}"
        )
    return code
