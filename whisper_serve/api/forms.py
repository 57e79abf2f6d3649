"""Form fields that several dialects share, and what they mean."""

from typing import Annotated

from fastapi import Form
from pydantic import BeforeValidator

from whisper_serve.errors import BadRequest
from whisper_serve.languages import language_code
from whisper_serve.types import VadOptions


def blank_is_absent(value: object) -> object:
    """Clients send "" for a field their user left empty."""
    return None if value == "" else value


Blank = BeforeValidator(blank_is_absent)

LanguageField = Annotated[
    str | None,
    Blank,
    Form(description="the language spoken, as ISO 639-1 code or English name; absent: detected"),
]
PromptField = Annotated[
    str | None, Blank, Form(description="words the recording is likely to hold, or the text before it")
]
HotwordsField = Annotated[str | None, Blank, Form(description="names and terms to favour")]
TemperatureField = Annotated[
    float | None,
    Blank,
    Form(
        ge=0,
        le=1,
        description="0: the likeliest words, and warmer tries where they look wrong; above: sampled at it",
    ),
]


def spoken(language: str | None) -> str | None:
    """The language's code. Raises BadRequest for one that Whisper does not know."""
    if language is None or language.lower() == "auto":
        return None
    code = language_code(language)
    if code is None:
        raise BadRequest(
            f"language {language!r} is not one that Whisper knows; give a code such as en, de or ja"
        )
    return code


def vad_options(vad: bool | None) -> VadOptions | None:
    return VadOptions(method="off") if vad is False else None
