"""The endpoints of OpenAI's audio API: transcriptions, translations and the list of models."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from whisper_serve.api import sse
from whisper_serve.api.deps import CallerDep, ServiceDep, StackDep
from whisper_serve.api.dialect import Dialect, Problem, Stream
from whisper_serve.api.form_limits import FormRoute
from whisper_serve.api.forms import contents
from whisper_serve.api.openai.forms import Chunking, Details, TranscriptionForm, options_of, render_options
from whisper_serve.api.openai.schemas import (
    REFUSALS,
    ErrorAnswer,
    ErrorBody,
    ModelEntry,
    ModelList,
    Transcription,
    VerboseTranscription,
    WhisperTranscription,
)
from whisper_serve.api.responses import content, rendered
from whisper_serve.config.resolve import Resolved
from whisper_serve.errors import NotFound
from whisper_serve.text.formats import (
    labelled_segments,
    logprobs_of,
    segment_fields,
    token_usage,
    warnings_of,
)
from whisper_serve.types import Transcript


def error_body(request: Request, problem: Problem) -> dict[str, Any]:
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    if problem.status == 429:
        kind = QUOTA if problem.code == QUOTA else "rate_limit_error"
    error = ErrorBody(message=problem.message, type=kind, param=problem.param, code=problem.code)
    return ErrorAnswer(error=error).model_dump()


router = APIRouter(prefix="/v1", tags=["OpenAI"], route_class=FormRoute)
DIALECT = Dialect(router, error_body, (Stream(kind="sse", path="/v1/audio/transcriptions"),))

QUOTA = "insufficient_quota"  # the type of such an error, and its code
CREATED = 1_663_718_400  # 2022-09-21: Whisper was published
ANSWER: dict[str, Any] = {
    "description": "The transcript, in the format that response_format names.",
    "model": Transcription | VerboseTranscription | WhisperTranscription,
    "content": content(),
}
STREAMED: dict[str, Any] = ANSWER | {"content": content() | sse.CONTENT}


@router.post("/audio/transcriptions", response_class=Response, responses=REFUSALS | {200: STREAMED})
async def transcriptions(
    request: Request,
    service: ServiceDep,
    caller: CallerDep,
    stack: StackDep,
    form: Annotated[TranscriptionForm, Depends()],
    details: Annotated[Details, Depends()],
    chunking: Annotated[Chunking, Depends()],
) -> Response:
    """Transcribe a recording: OpenAI's endpoint, for any of its clients."""
    check_model(service.config, form.model)
    render = replace(render_options(form, details), model=form.model or service.config.model.ids[0])
    options = options_of(form, render, "transcribe", details, chunking.vad())
    data = await contents(form.file)
    if details.stream:
        return await sse.respond(request, stack, data, options, lambda u: as_event(u, render.logprobs))
    transcript = await service.transcriber.transcribe(data, options, caller)
    return rendered(request, transcript, form.response_format, render)


@router.post("/audio/translations", response_class=Response, responses=REFUSALS | {200: ANSWER})
async def translations(
    request: Request, service: ServiceDep, caller: CallerDep, form: Annotated[TranscriptionForm, Depends()]
) -> Response:
    """Translate the speech of a recording into English."""
    check_model(service.config, form.model)
    render = replace(render_options(form), model=form.model or service.config.model.ids[0])
    options = options_of(form, render, "translate")
    transcript = await service.transcriber.transcribe(await contents(form.file), options, caller)
    return rendered(request, transcript, form.response_format, render)


@router.get("/models")
async def models(service: ServiceDep) -> ModelList:
    """The served model, by its own id and its aliases."""
    return ModelList(data=[entry(id) for id in service.config.model.ids])


@router.get("/models/{id:path}", responses={404: REFUSALS[404]})
async def model(
    service: ServiceDep,
    id: Annotated[
        str, Path(description="id of a model; it may have slashes", examples=["Systran/faster-whisper-base"])
    ],
) -> ModelEntry:
    """One of the models that GET /v1/models lists."""
    check_model(service.config, id)
    return entry(id)


def as_event(update: sse.Update, logprobs: bool) -> sse.Event | None:
    """A delta for each update that has words, then the whole text and its segments; the deltas joined are that text."""
    event: sse.Event
    if isinstance(update, Transcript):
        segments = update.segments
        event = {
            "type": "transcript.text.done",
            "text": update.text,
            "segments": [segment_fields(i, segment) for i, segment in enumerate(segments)],
            "usage": token_usage(update),
        } | warnings_of(update)
    elif not update.text:
        return None
    else:
        event = {"type": "transcript.text.delta", "delta": update.text}
        segments = update.step.segments
    if logprobs:
        event["logprobs"] = logprobs_of(segments)
    return labelled_segments(segments) | event


def entry(id: str) -> ModelEntry:
    return ModelEntry(id=id, created=CREATED, owned_by="openai")


def check_model(config: Resolved, id: str) -> None:
    """Raises NotFound; no id at all means the model that is served."""
    if id and id not in config.model.ids:
        raise NotFound(f"the model {id!r} is not served here; GET /v1/models lists those that are")
