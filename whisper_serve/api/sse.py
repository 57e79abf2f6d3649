"""Server-sent events: a transcript as it becomes known, one response of many frames.

A frame is `data: {json}`; an event that has a `type` is named by it in a line `event: <type>` before that. The
headers go out as soon as the recording is decoded and admitted; until then an error is a plain answer with its status,
and after it one last frame. Where nothing is known for a while, a comment keeps proxies from closing the connection.

fastapi.sse pings too, but only for endpoints that are generators: those answer 200 before anything is checked.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.sse import EventSourceResponse, format_sse_event

from whisper_serve.api.deps import Service, get_service
from whisper_serve.api.errors import as_body, as_problem
from whisper_serve.api.responses import answer_headers
from whisper_serve.audio.source import Sent
from whisper_serve.text.formats import dumped
from whisper_serve.transcription.recording import Recording, Step, collect
from whisper_serve.types import Options, Transcript

CONTENT: dict[str, Any] = {  # for OpenAPI
    "text/event-stream": {
        "schema": {
            "type": "object",
            "properties": {
                "event": {"type": "string"},
                "data": {"type": "string", "contentMediaType": "application/json"},
            },
            "required": ["data"],
        }
    }
}
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # nginx would hold frames back
KEEP_ALIVE = format_sse_event(comment="keep-alive")


@dataclass(frozen=True, slots=True)
class Delta:
    """What one more window added."""

    text: str  # all deltas joined are the transcript's text
    step: Step


Update = Delta | Transcript
Event = dict[str, Any]  # as JSON
AsEvent = Callable[[Update], Event | None]  # an update in a dialect's words; None: nothing to send


async def respond(
    request: Request, stack: AsyncExitStack, data: Sent, options: Options, as_event: AsEvent
) -> EventSourceResponse:
    """Decode and admit, raising what Transcriber.admitted does; then answer, with an event for each update.

    stack: ends with the response, and with it all that is still being transcribed for it.
    """
    service = get_service(request)
    admitted = service.transcriber.admitted(data, options, request.state.caller)
    recording = await stack.enter_async_context(admitted)
    body = frames(request, events(updates(request, service, recording), as_event))
    return EventSourceResponse(await stack.enter_async_context(aclosing(body)), headers=HEADERS)


async def updates(request: Request, service: Service, recording: Recording) -> AsyncGenerator[Update, None]:
    """A delta for each window, then the whole. Raises what Transcriber.steps does."""
    steps, trailing, begun = [], "", False
    async with aclosing(service.transcriber.steps(recording)) as transcribing:
        async for step in transcribing:
            text = trailing + "".join(segment.text for segment in step.segments)
            text = text if begun else text.lstrip()
            words = text.rstrip()
            begun = begun or bool(words)
            trailing = text[len(words) :]  # the whole text ends without it
            steps.append(step)
            yield Delta(words, step)
    transcript = collect(recording, steps)
    answer_headers(request, transcript)
    yield transcript


async def events(updates: AsyncGenerator[Update, None], as_event: AsEvent) -> AsyncGenerator[Event, None]:
    async with aclosing(updates):
        async for update in updates:
            event = as_event(update)
            if event is not None:
                yield event


async def frames(request: Request, events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    longest_pause_s = get_service(request).config.server.sse_keepalive_s
    try:
        async with aclosing(with_pauses(events, longest_pause_s)) as live:
            async for event in live:
                yield KEEP_ALIVE if event is None else frame(event)
    except Exception as e:  # the status is long sent
        problem = as_problem(e)
        request.state.failed_status = problem.status
        yield frame(as_body(request, problem))


async def with_pauses(
    events: AsyncGenerator[Event, None], longest_s: float
) -> AsyncGenerator[Event | None, None]:
    """Each event as it comes, and None whenever there was none for so long."""
    async with aclosing(events):
        coming = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                await asyncio.wait((coming,), timeout=longest_s)
                if not coming.done():
                    yield None
                    continue
                event = coming.result()
                if event is None:
                    return
                yield event
                coming = asyncio.ensure_future(anext(events, None))
        finally:  # the caller may be gone
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


def frame(event: Event) -> bytes:
    return format_sse_event(data_str=dumped(event), event=event.get("type"))
