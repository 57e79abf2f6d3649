"""Form fields that several dialects share, and what they mean."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import File, Form, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BeforeValidator

from whisper_serve.text.languages import language_code
from whisper_serve.types import Task, VadOptions


def blank_is_absent(value: object) -> object:
    """Clients send "" for a field their user left empty."""
    return None if value == "" else value


def without_blanks(values: object) -> object:
    return [value for value in values if value != ""] if isinstance(values, (list, tuple)) else values


def spoken(language: str | None) -> str | None:
    """The language's code; ValueError for one that Whisper does not know."""
    if language is None or language.lower() == "auto":
        return None
    code = language_code(language)
    if code is None:
        raise ValueError(
            f"{language!r} is not a language that Whisper knows; give a code such as en, de or ja"
        )
    return code


def one_of(names: Iterable[str]) -> AfterValidator:
    """For fields whose values are the rows of a table."""
    known = list(names)

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"{name!r} is not one of {', '.join(known)}")
        return name

    return AfterValidator(check)


def mistake(field: str, message: str) -> RequestValidationError:
    """One that shows only when fields are seen together; answered like those FastAPI finds."""
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": message}])


Blank = BeforeValidator(blank_is_absent)
Listed = BeforeValidator(without_blanks)
Language = Annotated[str | None, Blank, AfterValidator(spoken)]

LANGUAGE = "the language spoken, as ISO 639-1 code or English name; absent: detected"
PROMPT = "words the recording is likely to hold, or the text before it"
TASK = "translate: into English"

FileField = Annotated[
    UploadFile, File(description="a recording, or a video with sound, in any common format")
]
LanguageField = Annotated[Language, Form(description=LANGUAGE, examples=["en"])]
PromptField = Annotated[str, Form(description=PROMPT, examples=["Whisper, Ray Serve."])]
HotwordsField = Annotated[str, Form(description="names and terms to favour", examples=["Kaliko, Shaggy"])]
TemperatureField = Annotated[
    float,
    Form(
        ge=0,
        le=1,
        description="0: the likeliest words, and warmer tries where they look wrong; above: sampled at it",
        examples=[0.2],
    ),
]
TaskField = Annotated[Task, Form(description=TASK, examples=["translate"])]
ParallelField = Annotated[
    bool, Form(description="false: one stretch of the recording at a time", examples=[False])
]


def vad_options(vad: bool | None) -> VadOptions | None:
    return VadOptions(method="off") if vad is False else None
