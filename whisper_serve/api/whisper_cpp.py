"""The API of whisper.cpp's server: POST /inference."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from pydantic import BaseModel, Field

from whisper_serve.api.deps import CallerDep, ServiceDep
from whisper_serve.api.dialect import Dialect, Problem
from whisper_serve.api.errors import refusals
from whisper_serve.api.form_limits import FormRoute
from whisper_serve.api.forms import (
    TASK,
    VAD,
    Blank,
    FileField,
    LanguageField,
    PromptField,
    TemperatureField,
    one_of,
    vad_options,
)
from whisper_serve.api.openai.schemas import Transcription, VerboseSegment, VerboseWord
from whisper_serve.api.responses import content, rendered
from whisper_serve.text.formats import RenderOptions
from whisper_serve.types import Options, Task

# response_format to FORMATS; text has a line for each segment there.
OUTPUTS = {"json": "json", "text": "txt", "srt": "srt", "vtt": "vtt", "verbose_json": "whisper_cpp_json"}


class InferredWord(VerboseWord):
    probability: float


class InferredSegment(VerboseSegment):
    words: list[InferredWord] = Field([], description="unless no_timestamps")


class Inferred(BaseModel):
    """response_format=verbose_json."""

    task: Task
    language: str = Field(description="English name of the language of the text", examples=["english"])
    duration: float = Field(description="seconds")
    text: str
    segments: list[InferredSegment]


class Refused(BaseModel):
    error: str = Field(description="one sentence: what was wrong", examples=["the file is empty"])


def error_body(request: Request, problem: Problem) -> dict[str, Any]:
    return Refused(error=problem.message).model_dump()


router = APIRouter(tags=["whisper.cpp"], route_class=FormRoute)
DIALECT = Dialect(router, error_body)
ANSWER: dict[str, Any] = {
    "description": "The transcript, in the format that response_format names.",
    "model": Transcription | Inferred,
    "content": content(),
}


@dataclass(frozen=True, slots=True)
class InferenceForm:
    """The fields that change anything here. Those for whisper.cpp's own decoder, such as beam_size, are ignored."""

    file: FileField
    language: LanguageField = None
    translate: Annotated[bool, Form(description=TASK.replace("translate", "true"), examples=[True])] = False
    prompt: PromptField = ""
    temperature: TemperatureField = 0.0
    no_timestamps: Annotated[
        bool, Form(description="true: leave words out of verbose_json", examples=[True])
    ] = False
    vad: Annotated[bool | None, Blank, Form(description=VAD, examples=[True])] = None
    response_format: Annotated[
        str,
        one_of(OUTPUTS),
        Form(description="format of the answer", examples=["srt"], json_schema_extra={"enum": [*OUTPUTS]}),
    ] = "json"


@router.post(
    "/inference", response_class=Response, responses=refusals(Refused, without=(404,)) | {200: ANSWER}
)
async def inference(
    request: Request, service: ServiceDep, caller: CallerDep, form: Annotated[InferenceForm, Depends()]
) -> Response:
    """Transcribe a recording: the endpoint of whisper.cpp's server."""
    words = form.response_format == "verbose_json" and not form.no_timestamps
    options = Options(
        language=form.language,
        task="translate" if form.translate else "transcribe",
        prompt=form.prompt,
        temperature=form.temperature,
        word_timestamps=words,
        vad=vad_options(form.vad),
    )
    transcript = await service.transcriber.transcribe(await form.file.read(), options, caller)
    return rendered(request, transcript, OUTPUTS[form.response_format], RenderOptions(words=words))
