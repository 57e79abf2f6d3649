"""A transcript and the name of a format in, the HTTP response out."""

from typing import Any

from fastapi import Request, Response

from whisper_serve.api.measures import measured
from whisper_serve.text.formats import FORMATS, RenderOptions
from whisper_serve.types import Transcript

TEXT: dict[str, Any] = {"schema": {"type": "string"}}


def rendered(request: Request, transcript: Transcript, format: str, render: RenderOptions) -> Response:
    row = FORMATS[format]
    return Response(
        row.render(transcript, render), headers=measured(request, transcript), media_type=row.media_type
    )


def content() -> dict[str, Any]:
    """For OpenAPI: the media types of the formats that are no JSON."""
    return {row.media_type: TEXT for row in FORMATS.values() if row.media_type != "application/json"}
