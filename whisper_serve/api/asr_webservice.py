"""The API of whisper-asr-webservice, which Bazarr and Speakr use: transcripts as files, and language detection."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from whisper_serve.api.deps import CallerDep, ServiceDep
from whisper_serve.api.dialect import Dialect
from whisper_serve.api.errors import Failure, failure_body, refusals
from whisper_serve.api.form_limits import FormRoute
from whisper_serve.api.forms import (
    CHANNELS,
    LANGUAGE,
    LANGUAGES,
    MULTILINGUAL,
    PROMPT,
    TASK,
    VAD,
    Blank,
    FileField,
    Language,
    Languages,
    ReplacementsField,
    contents,
    one_of,
    replacements_of,
    vad_options,
    with_languages,
)
from whisper_serve.api.openai.schemas import WhisperTranscription
from whisper_serve.api.responses import content, rendered
from whisper_serve.text import languages as names
from whisper_serve.text.formats import DEFAULT_LANGUAGE, RenderOptions
from whisper_serve.types import Options, Task

router = APIRouter(tags=["whisper-asr-webservice"], route_class=FormRoute)
DIALECT = Dialect(router, failure_body)

REFUSALS = refusals(Failure, without=(404,))
OUTPUTS = {name: name for name in ("txt", "vtt", "srt", "tsv")} | {"json": "whisper_json"}  # to FORMATS
ENCODE = "false: the file has no header, only samples: 16-bit little-endian, 16 kHz, mono"
DIARIZE = (
    "tell speakers apart, by channel where there are two with one person each; else there is one speaker"
)
SUBTITLES: dict[str, Any] = {
    "description": "The transcript, in the format that output names.",
    "model": WhisperTranscription,
    "content": content(),
}


class Detected(BaseModel):
    detected_language: str = Field(description="its English name", examples=["english"])
    language_code: str = Field(description="ISO 639-1", examples=["en"])
    confidence: float = Field(description="0 to 1; 0 for a recording without speech", examples=[0.99])


@router.post("/asr", response_class=Response, responses=REFUSALS | {200: SUBTITLES})
async def asr(
    request: Request,
    service: ServiceDep,
    caller: CallerDep,
    audio_file: FileField,
    encode: Annotated[bool, Query(description=ENCODE, examples=[False])] = True,
    task: Annotated[Task, Query(description=TASK, examples=["translate"])] = "transcribe",
    language: Annotated[Language, Query(description=LANGUAGE, examples=["en"])] = None,
    languages: Annotated[Languages, Query(description=LANGUAGES, examples=[["en", "de"]])] = (),
    multilingual: Annotated[bool, Query(description=MULTILINGUAL, examples=[True])] = False,
    initial_prompt: Annotated[str, Query(description=PROMPT, examples=["Whisper, Ray Serve."])] = "",
    vad_filter: Annotated[bool | None, Blank, Query(description=VAD, examples=[True])] = None,
    word_timestamps: Annotated[
        bool, Query(description="list words with their times, in json", examples=[True])
    ] = False,
    diarize: Annotated[bool | None, Blank, Query(description=DIARIZE, examples=[True])] = None,
    channels: Annotated[
        Literal["mix", "separate"], Query(description=CHANNELS, examples=["separate"])
    ] = "mix",
    replacements: ReplacementsField = "",
    output: Annotated[
        str,
        one_of(OUTPUTS),
        Query(description="format of the answer", examples=["srt"], json_schema_extra={"enum": [*OUTPUTS]}),
    ] = "txt",
) -> Response:
    """Transcribe a recording, and answer with a file."""
    options = Options(
        multilingual=multilingual,
        task=task,
        prompt=initial_prompt,
        word_timestamps=word_timestamps,
        vad=vad_options(vad_filter),
        headerless=not encode,
        channels="speakers" if diarize else channels,
        replacements=replacements_of(replacements),
    )
    options = with_languages(options, language, *languages)
    transcript = await service.transcriber.transcribe(await contents(audio_file), options, caller)
    response = rendered(request, transcript, OUTPUTS[output], RenderOptions(words=word_timestamps))
    response.headers["asr-engine"] = transcript.engine or service.config.engine
    name = quote(audio_file.filename or "audio_file")
    response.headers["content-disposition"] = f'attachment; filename="{name}.{output}"'
    return response


@router.post("/detect-language", responses=REFUSALS)
async def detect_language(
    service: ServiceDep,
    caller: CallerDep,
    audio_file: FileField,
    encode: Annotated[bool, Query(description=ENCODE, examples=[False])] = True,
) -> Detected:
    """The language of the first speech in a recording."""
    options = Options(headerless=not encode)
    result = await service.transcriber.detect(await contents(audio_file), options, caller)
    code = result.language if result else DEFAULT_LANGUAGE
    confidence = result.language_probability if result else 0.0
    return Detected(
        detected_language=names.LANGUAGES[code], language_code=code, confidence=round(confidence, 4)
    )
