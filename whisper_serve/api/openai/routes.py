"""OpenAI's audio API: recordings and OpenAI's fields in, OpenAI's answers, events and errors out."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from whisper_serve.api import sse
from whisper_serve.api.deps import CallerDep, ServiceDep
from whisper_serve.api.openai.forms import Asked, Chunking, Details, options_of, render_options
from whisper_serve.api.openai.schemas import (
    REFUSALS,
    ModelEntry,
    ModelList,
    Transcription,
    VerboseTranscription,
    WhisperTranscription,
)
from whisper_serve.api.responses import content, rendered
from whisper_serve.config.resolve import Resolved
from whisper_serve.errors import NotFound
from whisper_serve.text.formats import logprobs_of, token_usage
from whisper_serve.types import Transcript

router = APIRouter(prefix="/v1", tags=["OpenAI"])

CREATED = 1_663_718_400  # 2022-09-21: Whisper was published
ANSWER: dict[str, Any] = {
    "description": "as response_format says",
    "model": Transcription | VerboseTranscription | WhisperTranscription,
    "content": content(),
}
STREAMED: dict[str, Any] = ANSWER | {"content": content() | sse.CONTENT}


@router.post("/audio/transcriptions", response_class=Response, responses=REFUSALS | {200: STREAMED})
async def transcriptions(
    request: Request,
    service: ServiceDep,
    caller: CallerDep,
    asked: Annotated[Asked, Depends()],
    details: Annotated[Details, Depends()],
    chunking: Annotated[Chunking, Depends()],
) -> Response:
    """Transcribe a recording: OpenAI's endpoint, for any of its clients."""
    check_model(service.config, asked.model)
    render = render_options(asked, details)
    options = options_of(asked, render, "transcribe", details, chunking.vad())
    data = await asked.file.read()
    if details.stream:
        return await sse.respond(
            request, events(sse.pieces(request, service, data, options), render.logprobs)
        )
    transcript = await service.transcriber.transcribe(data, options, caller)
    return rendered(request, transcript, asked.response_format, render)


@router.post("/audio/translations", response_class=Response, responses=REFUSALS | {200: ANSWER})
async def translations(
    request: Request, service: ServiceDep, caller: CallerDep, asked: Annotated[Asked, Depends()]
) -> Response:
    """Translate a recording's words into English."""
    check_model(service.config, asked.model)
    render = render_options(asked)
    transcript = await service.transcriber.transcribe(
        await asked.file.read(), options_of(asked, render, "translate"), caller
    )
    return rendered(request, transcript, asked.response_format, render)


@router.get("/models")
async def models(service: ServiceDep) -> ModelList:
    """The served model, under its own id and its aliases."""
    return ModelList(data=[entry(id) for id in service.config.model.ids])


@router.get("/models/{id:path}", responses={404: REFUSALS[404]})
async def model(
    service: ServiceDep,
    id: Annotated[str, Path(description="may hold slashes", examples=["Systran/faster-whisper-base"])],
) -> ModelEntry:
    """One of the names GET /v1/models lists."""
    check_model(service.config, id)
    return entry(id)


async def events(
    pieces: AsyncGenerator[sse.Piece | Transcript, None], logprobs: bool
) -> AsyncGenerator[sse.Event, None]:
    """A delta for each piece that has words, then the whole text; the deltas joined are that text."""
    async with aclosing(pieces):
        async for piece in pieces:
            event: sse.Event
            if isinstance(piece, Transcript):
                event = {"type": "transcript.text.done", "text": piece.text, "usage": token_usage(piece)}
                segments = piece.segments
            else:
                event = {"type": "transcript.text.delta", "delta": piece.text}
                segments = piece.step.segments
            if logprobs:
                event["logprobs"] = logprobs_of(segments)
            if event.get("delta") != "":
                yield event


def entry(id: str) -> ModelEntry:
    return ModelEntry(id=id, created=CREATED, owned_by="openai")


def check_model(config: Resolved, id: str) -> None:
    """Raises NotFound; no id at all means the model that is served."""
    if id and id not in config.model.ids:
        raise NotFound(f"the model {id!r} is not served here; GET /v1/models lists those that are")
