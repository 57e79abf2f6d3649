"""The service's own API: POST /transcribe answers a transcript at once, /transcribe/stream as events.

Both take a multipart form, or the recording as the body and the other fields as query parameters.
"""

import time
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from pydantic import BaseModel, Field

from whisper_serve.api import sse
from whisper_serve.api.deps import CallerDep, ServiceDep, StackDep
from whisper_serve.api.dialect import Dialect, Stream
from whisper_serve.api.errors import Failure, failure_body, refusals
from whisper_serve.api.forms import (
    VAD,
    ChannelsField,
    FileField,
    HotwordsField,
    LanguageField,
    LanguagesField,
    MoreLanguagesField,
    MultilingualField,
    ParallelField,
    PromptField,
    ReplacementsField,
    TaskField,
    TemperatureField,
    contents,
    replacements_of,
    vad_options,
    with_languages,
)
from whisper_serve.api.raw_body import RawBodyRoute
from whisper_serve.api.responses import answer_headers
from whisper_serve.text.formats import rounded
from whisper_serve.text.labels import label_fields
from whisper_serve.types import Dropped, Gap, Options, Segment, Transcript

router = APIRouter(tags=["transcription"], route_class=RawBodyRoute)
STREAM = "/transcribe/stream"
DIALECT = Dialect(router, failure_body, (Stream(kind="sse", path=STREAM),))


class Timed(BaseModel):
    """A part of the recording."""

    channel: int | None = Field(None, description="from 1; with channels=separate only", examples=[1])
    speaker: str | None = Field(None, description="who said it; where that is known")


class TimedWord(Timed):
    word: str
    start: float = Field(description="seconds from the start of the recording")
    end: float
    probability: float


class TimedSegment(Timed):
    start: float = Field(description="seconds from the start of the recording")
    end: float
    text: str
    words: list[TimedWord] = Field(description="empty without word_timestamps")
    language: str = Field("", description="ISO 639-1; with multilingual only", examples=["en"])


class MissingRange(BaseModel):
    start: float = Field(description="seconds from the start of the recording")
    end: float
    error: str = Field(description="why it could not be transcribed")
    channel: int | None = Field(None, description="from 1; with channels=separate only", examples=[1])


class DroppedSegment(Timed):
    start: float = Field(description="seconds from the start of the recording")
    end: float
    text: str
    reason: str = Field(description="the filter that removed it")


class Transcribed(BaseModel):
    success: bool
    text: str = Field(examples=["Ask not what your country can do for you."])
    latency: float = Field(description="seconds this request took")
    word_count: int
    gpu_memory: float = Field(description="gigabytes of GPU memory in use; 0 on a CPU")
    error: str | None = Field(description="null; one sentence where success is false")
    segments: list[TimedSegment] = Field(
        [], description="with word_timestamps, multilingual or channels=separate only"
    )
    warnings: list[str] = Field(
        [], description="what to know about this answer, a sentence each; absent: nothing"
    )
    success_rate: float = Field(
        1.0, description="share of the windows that were transcribed; with allow_partial only"
    )
    gaps: list[MissingRange] = Field([], description="what could not be transcribed; with allow_partial only")
    dropped: list[DroppedSegment] = Field(
        [], description="segments that filters removed; with allow_partial only"
    )


REFUSALS = refusals(Failure, without=(404,))
EVENTS: dict[str, Any] = {"description": "Server-sent events.", "content": sse.CONTENT}


@dataclass(frozen=True, slots=True)
class NativeForm:
    """The fields of both endpoints."""

    audio_file: FileField
    language: LanguageField = None
    languages: LanguagesField = ()
    more_languages: MoreLanguagesField = ()
    multilingual: MultilingualField = False
    task: TaskField = "transcribe"
    prompt: PromptField = ""
    hotwords: HotwordsField = ""
    temperature: TemperatureField = 0.0
    word_timestamps: Annotated[
        bool, Form(description="list segments and words with their times", examples=[True])
    ] = False
    vad: Annotated[bool | None, Form(description=VAD, examples=[False])] = None
    channels: ChannelsField = "mix"
    replacements: ReplacementsField = ""
    use_parallel: ParallelField = True
    allow_partial: Annotated[
        bool,
        Form(
            description="where the model fails on a part of the recording: answer the rest, and list what is missing",
            examples=[True],
        ),
    ] = False

    def options(self) -> Options:
        options = Options(
            multilingual=self.multilingual,
            task=self.task,
            prompt=self.prompt,
            hotwords=self.hotwords,
            temperature=self.temperature,
            word_timestamps=self.word_timestamps,
            vad=vad_options(self.vad),
            channels=self.channels,
            replacements=replacements_of(self.replacements),
            use_parallel=self.use_parallel,
            allow_partial=self.allow_partial,
        )
        return with_languages(options, self.language, *self.languages, *self.more_languages)


@router.post("/transcribe", responses=REFUSALS, response_model_exclude_unset=True)
async def transcribe(
    request: Request,
    response: Response,
    service: ServiceDep,
    caller: CallerDep,
    form: Annotated[NativeForm, Depends()],
) -> Transcribed:
    """Transcribe a recording."""
    options = form.options()
    transcript = await service.transcriber.transcribe(await contents(form.audio_file), options, caller)
    response.headers.update(answer_headers(request, transcript))
    return as_answer(request, transcript, options)


@router.post(STREAM, response_class=Response, responses=REFUSALS | {200: EVENTS})
async def transcribe_stream(
    request: Request, stack: StackDep, form: Annotated[NativeForm, Depends()]
) -> Response:
    """Transcribe a recording, and answer with server-sent events as its words become known.

    Each event adds `text`, and says in `done` which share of the recording
    has been transcribed; with word_timestamps it has `segments` too. The last
    event is what POST /transcribe answers, or its error.
    """
    options = form.options()
    data = await contents(form.audio_file)
    return await sse.respond(request, stack, data, options, lambda u: as_event(request, u, options))


def as_event(request: Request, update: sse.Update, options: Options) -> sse.Event:
    if isinstance(update, Transcript):
        return as_answer(request, update, options).model_dump(exclude_unset=True)
    event: sse.Event = {"text": update.text, "done": round(update.step.done, 4)}
    if lists_segments(options):
        segments = [as_timed_segment(s) for s in update.step.segments]
        event["segments"] = [segment.model_dump(exclude_unset=True) for segment in segments]
    return event


def as_answer(request: Request, transcript: Transcript, options: Options) -> Transcribed:
    more: dict[str, Any] = {}
    if lists_segments(options):
        more["segments"] = [as_timed_segment(s) for s in transcript.segments]
    if transcript.warnings:
        more["warnings"] = [*transcript.warnings]
    if options.allow_partial:
        more["success_rate"] = round(transcript.success_rate, 4)
        more["gaps"] = [as_missing_range(gap) for gap in transcript.gaps]
        more["dropped"] = [as_dropped_segment(dropped) for dropped in transcript.dropped]
    return Transcribed(
        success=True,
        text=transcript.text,
        latency=round(time.perf_counter() - request.state.began, 4),
        word_count=len(transcript.text.split()),
        gpu_memory=round(transcript.gpu_memory_gb, 3),
        error=None,
        **more,
    )


def lists_segments(options: Options) -> bool:
    return options.word_timestamps or options.multilingual or options.channels != "mix"


def as_timed_segment(segment: Segment) -> TimedSegment:
    more = {"language": segment.language} if segment.language else {}
    return TimedSegment(
        start=rounded(segment.start),
        end=rounded(segment.end),
        text=segment.text.strip(),
        words=[
            TimedWord(
                word=w.text.strip(),
                start=rounded(w.start),
                end=rounded(w.end),
                probability=round(w.probability, 3),
                **label_fields(w),
            )
            for w in segment.words
        ],
        **label_fields(segment),
        **more,
    )


def as_missing_range(gap: Gap) -> MissingRange:
    channel = {} if gap.channel is None else {"channel": gap.channel}
    return MissingRange(start=rounded(gap.start), end=rounded(gap.end), error=gap.error, **channel)


def as_dropped_segment(dropped: Dropped) -> DroppedSegment:
    segment = dropped.segment
    return DroppedSegment(
        start=rounded(segment.start),
        end=rounded(segment.end),
        text=segment.text.strip(),
        reason=dropped.reason,
        **label_fields(segment),
    )
