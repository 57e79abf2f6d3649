"""The answers of OpenAI's audio API, for /openapi.json. Transcripts are rendered by text/formats.py."""

from typing import Literal

from pydantic import BaseModel, Field

from whisper_serve.api.errors import refusals


class DurationUsage(BaseModel):
    type: Literal["duration"]
    seconds: float = Field(description="length of the recording", examples=[11.0])


WARNINGS: list[str] = Field(
    [], description="what to know about this answer, a sentence each; absent: nothing"
)


class Logprob(BaseModel):
    token: str
    logprob: float = Field(description="natural logarithm of its probability", examples=[-0.1])
    bytes: list[int] = Field(description="the token in UTF-8, also where it is a part of a character")


class Labelled(BaseModel):
    channel: int = Field(1, description="from 1; with channels=separate only")
    speaker: str = Field("", description="who said it; where that is known")


class LabelledSegment(Labelled):
    start: float = Field(description="seconds from the start of the recording")
    end: float
    text: str


class Transcription(BaseModel):
    """response_format=json."""

    text: str = Field(examples=["Ask not what your country can do for you."])
    language: str = Field("", description="ISO 639-1 code of the language of the text", examples=["en"])
    model: str = Field("", description="id of the model, as requested")
    segments: list[LabelledSegment] = Field([], description="with channels=separate only")
    logprobs: list[Logprob] = Field([], description="with include[]=logprobs only")
    usage: DurationUsage
    warnings: list[str] = WARNINGS


class VerboseSegment(Labelled):
    id: int
    seek: int = Field(description="start, in hundredths of a second")
    start: float = Field(description="seconds from the start of the recording")
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    language: str = Field("", description="ISO 639-1; with multilingual only", examples=["en"])


class VerboseWord(Labelled):
    word: str
    start: float = Field(description="seconds from the start of the recording")
    end: float


class VerboseTranscription(BaseModel):
    """response_format=verbose_json."""

    task: Literal["transcribe", "translate"]
    language: str = Field(description="English name of the language of the text", examples=["english"])
    duration: float = Field(description="seconds")
    text: str
    segments: list[VerboseSegment] = Field([], description="unless only words were requested")
    words: list[VerboseWord] = Field([], description="with timestamp_granularities[]=word only")
    usage: DurationUsage
    warnings: list[str] = WARNINGS


class WhisperTranscription(BaseModel):
    """response_format=whisper_json: what openai-whisper writes."""

    text: str
    segments: list[VerboseSegment]
    language: str = Field(description="ISO 639-1 code of the language of the text", examples=["en"])
    warnings: list[str] = WARNINGS


class ModelEntry(BaseModel):
    id: str = Field(examples=["whisper-1"])
    object: Literal["model"] = "model"
    created: int = Field(description="seconds since 1970")
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelEntry]


class ErrorBody(BaseModel):
    message: str = Field(examples=["the file is empty"])
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(description="the field at fault", examples=["file"])
    code: str | None = Field(examples=["model_not_found"])


class ErrorAnswer(BaseModel):
    error: ErrorBody


REFUSALS = refusals(ErrorAnswer)
