"""Form fields that several dialects share: their types, checks and descriptions."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import File, Form, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError

from whisper_serve.audio.source import Sent
from whisper_serve.text.languages import language_codes
from whisper_serve.types import Options, Replacement, Task, VadOptions


def blank_is_absent(value: object) -> object:
    """Clients send "" for a field their user left empty."""
    return None if value == "" else value


def without_blanks(values: object) -> object:
    return [value for value in values if value != ""] if isinstance(values, (list, tuple)) else values


def known_language(given: str | None) -> str | None:
    """The code of a language, or those of several, joined by commas; None: to be detected.

    ValueError for one that Whisper does not know.
    """
    return ",".join(language_codes([given or ""])) or None


def known_languages(given: tuple[str, ...]) -> tuple[str, ...]:
    """Their codes. ValueError for one that Whisper does not know."""
    return language_codes(given)


def with_languages(options: Options, language: str | None, *more: str) -> Options:
    """The options with the language to expect: the one that is named, or the best of several."""
    codes = language_codes([language or "", *more])
    if len(codes) == 1:
        return replace(options, language=codes[0])
    return replace(options, languages=codes)


def replacements_of(text: str) -> tuple[Replacement, ...]:
    """Of a form field. Raises RequestValidationError."""
    try:
        table = REPLACEMENT_TABLE.validate_json(text) if text.strip() else {}
    except ValidationError as e:
        raise mistake(
            "replacements", 'it should be a JSON object of texts, such as {"cooper netties": "Kubernetes"}'
        ) from e
    return tuple(Replacement(*entry) for entry in table.items())


def one_of(names: Iterable[str]) -> AfterValidator:
    """For fields whose values are the rows of a table."""
    known = list(names)

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"{name!r} is not one of {', '.join(known)}")
        return name

    return AfterValidator(check)


def mistake(field: str, message: str) -> RequestValidationError:
    """A mistake that FastAPI cannot find in one field by itself; answered like those that it finds."""
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": message}])


REPLACEMENT_TABLE = TypeAdapter(dict[str, str])
Blank = BeforeValidator(blank_is_absent)
Listed = BeforeValidator(without_blanks)
Language = Annotated[str | None, Blank, AfterValidator(known_language)]
Languages = Annotated[tuple[str, ...], Listed, AfterValidator(known_languages)]

LANGUAGE = (
    "language of the speech, as ISO 639 code or English name; several, joined by commas: the likeliest of them; "
    "absent, auto or und: detected"
)
LANGUAGES = "languages of which one is spoken: the likeliest of them is taken"
MULTILINGUAL = (
    "true: detect the language of each part of the recording on its own, and name it with each segment; "
    "no effect where one language is given"
)
PROMPT = "words that are likely in the recording, or the text that precedes it"
TASK = "translate: answer in English"
CHANNELS = (
    "separate: transcribe each channel of the recording by itself, and say of each segment and word on which it was; "
    "mix: all together"
)
VAD = "false: transcribe silences too, without voice activity detection; absent: as configured"

FileField = Annotated[
    UploadFile, File(description="a recording, or a video with sound, in any common format")
]
LanguageField = Annotated[Language, Form(description=LANGUAGE, examples=["en"])]
LanguagesField = Annotated[
    Languages, Form(alias="languages[]", description=LANGUAGES, examples=[["en", "de"]])
]
MoreLanguagesField = Annotated[
    Languages, Form(alias="languages", description=LANGUAGES, examples=[["en", "de"]])
]
MultilingualField = Annotated[bool, Form(description=MULTILINGUAL, examples=[True])]
PromptField = Annotated[str, Form(description=PROMPT, examples=["Whisper, Ray Serve."])]
HotwordsField = Annotated[
    str, Form(description="names and terms that are likely in the recording", examples=["Kaliko, Shaggy"])
]
TemperatureField = Annotated[
    float,
    Form(
        ge=0,
        le=1,
        description="0: the likeliest words, and again at higher temperatures where they repeat or are unlikely; "
        "above 0: sampled at this temperature",
        examples=[0.2],
    ),
]
TaskField = Annotated[Task, Form(description=TASK, examples=["translate"])]
ChannelsField = Annotated[
    Literal["mix", "separate"],
    Form(description=CHANNELS, examples=["separate"]),
]
ReplacementsField = Annotated[
    str,
    Form(
        description="phrases and what is to be written instead, as a JSON object; added to those that are configured",
        examples=['{"cooper netties": "Kubernetes"}'],
    ),
]
ParallelField = Annotated[
    bool,
    Form(description="false: transcribe the windows of the recording one after another", examples=[False]),
]


async def contents(upload: UploadFile) -> Sent:
    """The bytes of an upload in memory; of a larger one the file it is in, which is not read here."""
    in_file: bool = getattr(upload.file, "_rolled", False)  # as Starlette itself finds out
    return upload.file if in_file else await upload.read()


def vad_options(vad: bool | None) -> VadOptions | None:
    """None: as configured."""
    return VadOptions(method="off") if vad is False else None
