"""The base class of a section of the config, and the words in which a wrong name is refused."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def nearest(name: str, known: Iterable[str], section: Iterable[Any] = ()) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {'.'.join([*map(str, section), close[0]])}?" if close else ""


def one_of(name: str, known: list[str]) -> str:
    if name not in known:
        raise ValueError(f"{name!r} is not one of {', '.join(known)}{nearest(name, known)}")
    return name
