"""POST /transcribe, the seed dialect: a recording in; its words, and what they took, out."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from pydantic import BaseModel, Field

from whisper_serve.api.deps import ServiceDep
from whisper_serve.api.forms import (
    Blank,
    HotwordsField,
    LanguageField,
    PromptField,
    TemperatureField,
    spoken,
    vad_options,
)
from whisper_serve.api.measures import measured
from whisper_serve.types import Options, Segment, Task, Transcript

router = APIRouter(tags=["transcription"])


class SpokenWord(BaseModel):
    word: str
    start: float = Field(description="seconds from the start of the recording")
    end: float
    probability: float


class SpokenSegment(BaseModel):
    start: float = Field(description="seconds from the start of the recording")
    end: float
    text: str
    words: list[SpokenWord]


class Transcribed(BaseModel):
    success: bool
    text: str
    latency: float = Field(description="seconds this request took")
    word_count: int
    gpu_memory: float = Field(description="gigabytes of GPU memory in use; 0 on a CPU")
    error: str | None
    segments: list[SpokenSegment] = Field([], description="with word_timestamps only")


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Transcribed, "description": said}
    for status, said in {
        400: "not a recording that can be read, or a field that makes no sense",
        413: "more bytes or seconds than the service takes",
        429: "no room in the queue; see Retry-After",
        500: "the model failed",
        503: "no model replica is ready",
    }.items()
}


@router.post("/transcribe", responses=REFUSALS, response_model_exclude_unset=True)
async def transcribe(
    request: Request,
    response: Response,
    service: ServiceDep,
    audio_file: Annotated[
        UploadFile, File(description="a recording, or a video with sound, in any common format")
    ],
    language: LanguageField = None,
    task: Annotated[Task, Form(description="translate: into English")] = "transcribe",
    prompt: PromptField = None,
    hotwords: HotwordsField = None,
    temperature: TemperatureField = None,
    word_timestamps: Annotated[
        bool | None, Blank, Form(description="answer segments and words with their times")
    ] = None,
    vad: Annotated[bool | None, Blank, Form(description="false: hear silences too")] = None,
    use_parallel: Annotated[
        bool | None, Blank, Form(description="false: one stretch of the recording at a time")
    ] = None,
) -> Transcribed:
    """Transcribe a recording."""
    options = Options(
        language=spoken(language),
        task=task,
        prompt=prompt or "",
        hotwords=hotwords or "",
        temperature=temperature or 0.0,
        word_timestamps=bool(word_timestamps),
        vad=vad_options(vad),
        use_parallel=use_parallel is not False,
    )
    transcript = await service.transcriber.transcribe(await audio_file.read(), options)
    response.headers.update(measured(request, transcript))
    return as_answer(transcript, time.perf_counter() - request.state.began, options.word_timestamps)


def as_answer(transcript: Transcript, latency: float, with_words: bool) -> Transcribed:
    answer = Transcribed(
        success=True,
        text=transcript.text,
        latency=round(latency, 4),
        word_count=len(transcript.text.split()),
        gpu_memory=round(transcript.gpu_memory_gb, 3),
        error=None,
    )
    return (
        answer.model_copy(update={"segments": [as_segment(s) for s in transcript.segments]})
        if with_words
        else answer
    )


def as_segment(segment: Segment) -> SpokenSegment:
    return SpokenSegment(
        start=round(segment.start, 3),
        end=round(segment.end, 3),
        text=segment.text.strip(),
        words=[
            SpokenWord(
                word=w.text.strip(),
                start=round(w.start, 3),
                end=round(w.end, 3),
                probability=round(w.probability, 3),
            )
            for w in segment.words
        ],
    )
