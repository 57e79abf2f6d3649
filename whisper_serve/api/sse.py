"""Server-sent events: what becomes known of a recording in, one response of many frames out.

Frames are `data: {json}` and nothing else, as OpenAI's clients expect. Nothing
is answered before the first event is known: until then an error has a status.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from whisper_serve.api.deps import Service
from whisper_serve.api.errors import as_body, as_problem
from whisper_serve.api.responses import timing_headers
from whisper_serve.text.formats import dumped
from whisper_serve.transcription.transcriber import Step, collect
from whisper_serve.types import Options, Transcript

Event = dict[str, Any]
CONTENT: dict[str, Any] = {  # for OpenAPI
    "text/event-stream": {
        "schema": {
            "type": "object",
            "properties": {"data": {"type": "string", "contentMediaType": "application/json"}},
            "required": ["data"],
        }
    }
}
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # nginx would hold frames back


@dataclass(frozen=True, slots=True)
class Piece:
    """What one more window added."""

    text: str  # all pieces joined are the transcript's text
    step: Step


async def pieces(
    request: Request, service: Service, data: bytes, options: Options
) -> AsyncGenerator[Piece | Transcript, None]:
    """Each piece as it is known, then the whole. Raises what Transcriber does."""
    steps, held, begun = [], "", False
    async with service.transcriber.admitted(data, options, request.state.caller) as recording:
        del data
        async with aclosing(service.transcriber.steps(recording)) as hearing:
            async for step in hearing:
                said = held + "".join(segment.text for segment in step.segments)
                said = said if begun else said.lstrip()
                text = said.rstrip()
                begun = begun or bool(text)
                held = said[len(text) :]  # the whole text ends without it
                steps.append(step)
                yield Piece(text, step)
    transcript = collect(recording, steps)
    timing_headers(request, transcript)
    yield transcript


async def respond(request: Request, events: AsyncGenerator[Event, None]) -> StreamingResponse:
    """Wait for the first event, raising what it raises; then answer all of them."""
    first = await anext(events)
    return StreamingResponse(frames(request, first, events), 200, HEADERS, "text/event-stream")


async def frames(
    request: Request, first: Event, events: AsyncGenerator[Event, None]
) -> AsyncGenerator[str, None]:
    async with aclosing(events):  # the caller may leave: then nothing more is heard for it
        yield frame(first)
        try:
            async for event in events:
                yield frame(event)
        except Exception as e:  # the status is long sent
            yield frame(as_body(request, as_problem(e)))


def frame(event: Event) -> str:
    return f"data: {dumped(event)}\n\n"
