"""A transcript as an HTTP response: its body in a format, its timings and warnings as headers, log fields and metrics."""

import time
from collections.abc import Callable
from typing import Any

from fastapi import Request, Response

from whisper_serve.telemetry.metrics import (
    AUDIO,
    DECODE_TIME,
    DROPPED,
    INFERENCE_TIME,
    QUEUE_TIME,
    REAL_TIME_FACTOR,
    record,
)
from whisper_serve.text.formats import FORMATS, RenderOptions
from whisper_serve.types import Transcript

TEXT: dict[str, Any] = {"schema": {"type": "string"}}
# Seconds, milliseconds or counts, by their names in the log.
TIMINGS: dict[str, Callable[[Transcript], str]] = {
    "audio_seconds": lambda t: f"{t.duration:.3f}",
    "decode_ms": lambda t: f"{t.timings.decode_s * 1000:.1f}",
    "queue_ms": lambda t: f"{t.timings.queue_s * 1000:.1f}",
    "inference_ms": lambda t: f"{t.timings.inference_s * 1000:.1f}",
    "batch_windows": lambda t: f"{t.timings.batch_windows:g}",
    "batch_seconds": lambda t: f"{t.timings.batch_audio_s:.1f}",
}
TIMING_HEADERS = {name: f"x-{name.replace('_', '-')}" for name in TIMINGS}
WARNING_HEADER = "x-warning"


def rendered(request: Request, transcript: Transcript, format: str, render: RenderOptions) -> Response:
    row = FORMATS[format]
    return Response(
        row.render(transcript, render), headers=answer_headers(request, transcript), media_type=row.media_type
    )


def content() -> dict[str, Any]:
    """For OpenAPI: the media types of the formats that are not JSON."""
    return {row.media_type: TEXT for row in FORMATS.values() if row.media_type != "application/json"}


def answer_headers(request: Request, transcript: Transcript) -> dict[str, str]:
    """The timings and warnings as headers. They go into the log and the metrics too."""
    values = {name: value(transcript) for name, value in TIMINGS.items()}
    fields: dict[str, float | str] = {name: float(value) for name, value in values.items()}
    fields["windows"] = transcript.windows
    if request.app.state.service.config.logging.transcripts:
        fields["text"] = transcript.text
    headers = {header: values[name] for name, header in TIMING_HEADERS.items()}
    if transcript.warnings:
        # Servers refuse to send what is not ASCII.
        warning = "; ".join(transcript.warnings).encode("ascii", "replace").decode("ascii")
        fields["warning"] = headers[WARNING_HEADER] = warning
    request.state.log = fields
    count(request, transcript)
    return headers


def count(request: Request, transcript: Transcript) -> None:
    timings, endpoint = transcript.timings, request.scope["route"].path
    seconds = time.perf_counter() - request.state.began
    record(AUDIO, transcript.duration, endpoint=endpoint)
    record(REAL_TIME_FACTOR, seconds / transcript.duration, endpoint=endpoint)
    record(DECODE_TIME, timings.decode_s)
    record(QUEUE_TIME, timings.queue_s)
    record(INFERENCE_TIME, timings.inference_s)
    for dropped in transcript.dropped:
        record(DROPPED, reason=dropped.reason)
