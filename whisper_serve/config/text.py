"""Settings of the text of transcripts."""

from typing import Annotated

from pydantic import AfterValidator, Field

from whisper_serve.section import Section
from whisper_serve.text.replacements import checked

Replacements = Annotated[dict[str, str], AfterValidator(checked)]


class Text(Section):
    replacements: Replacements = Field(
        {},
        description='phrases and what is to be written instead, such as {"cooper netties": "Kubernetes"}, in every '
        "transcript; those of an API key and of a request are added and come first",
    )
    max_replacements: int = Field(
        500, ge=0, description="most replacements that a request may bring; 0: it may bring none"
    )
    max_replacement_chars: int = Field(
        200,
        ge=1,
        description="longest phrase, and longest text in its place, of those in a request; in characters",
    )
