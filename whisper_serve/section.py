"""The base class of the config's sections, and how a value is refused: naming its field and the nearest known name."""

import difflib
from collections.abc import Collection, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

STRICT = ConfigDict(extra="forbid")  # for sections that are frozen dataclasses


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def settings_of(section: Any) -> dict[str, FieldInfo]:
    """The fields of a section's type, be it a Section or a pydantic dataclass; none of any other type."""
    fields: dict[str, FieldInfo] = getattr(section, "__pydantic_fields__", {})
    return fields


def nearest(name: str, known: Iterable[str], section: Iterable[Any] = ()) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {'.'.join([*map(str, section), close[0]])}?" if close else ""


def choices(name: str, known: Collection[str]) -> str:
    """What a name that is not among the known ones is answered with."""
    return f"it should be one of {', '.join(known)}{nearest(name, known)}"


def one_of(name: str, known: Collection[str]) -> str:
    if name not in known:
        raise ValueError(choices(name, known))
    return name


def refusal(field: str, value: object, message: str) -> ValidationError:
    """To be raised by a validator that sees several fields: it blames the one that should change."""
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    return ValidationError.from_exception_data(
        field, [InitErrorDetails(type=error, loc=(field,), input=value)]
    )
