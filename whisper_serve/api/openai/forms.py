"""The form fields of OpenAI's audio API, and the Options and RenderOptions they become."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Form
from pydantic import BaseModel, Field, ValidationError

from whisper_serve.api.forms import (
    ChannelsField,
    FileField,
    HotwordsField,
    LanguageField,
    LanguagesField,
    Listed,
    MoreLanguagesField,
    MultilingualField,
    ParallelField,
    PromptField,
    ReplacementsField,
    TemperatureField,
    mistake,
    one_of,
    replacements_of,
    with_languages,
)
from whisper_serve.text.formats import FORMATS, RenderOptions
from whisper_serve.text.subtitles import AS_SEGMENTS, Layout
from whisper_serve.types import Options, Task, VadOptions

Granularity = Literal["word", "segment"]
Included = Literal["logprobs"]
GRANULARITIES = "what verbose_json lists with times; absent: segment"
WITHOUT_WORDS = "gpt-"  # models of such names are asked for json with words, which has no place for them
INCLUDE = "logprobs: the log-probability of every token, in json and in events"
KEYWORDS = "names and terms that are likely in the recording"


@dataclass(frozen=True, slots=True)
class TranscriptionForm:
    """The fields of both endpoints. Others are ignored."""

    file: FileField
    model: Annotated[
        str,
        Form(description="an id that GET /v1/models lists; absent: the served model", examples=["whisper-1"]),
    ] = ""
    language: LanguageField = None
    languages: LanguagesField = ()
    more_languages: MoreLanguagesField = ()
    multilingual: MultilingualField = False
    prompt: PromptField = ""
    hotwords: HotwordsField = ""
    temperature: TemperatureField = 0.0
    response_format: Annotated[
        str,
        one_of(FORMATS),
        Form(description="format of the answer", examples=["srt"], json_schema_extra={"enum": [*FORMATS]}),
    ] = "json"
    max_line_width: Annotated[
        int | None, Form(ge=1, le=1000, description="characters in a line of srt or vtt", examples=[42])
    ] = None
    max_line_count: Annotated[
        int | None, Form(ge=1, le=100, description="lines in a caption of srt or vtt", examples=[2])
    ] = None
    max_words_per_line: Annotated[
        int | None,
        Form(
            ge=1,
            le=1000,
            description="words in a caption of srt or vtt; no effect with the two above",
            examples=[8],
        ),
    ] = None
    channels: ChannelsField = "mix"
    replacements: ReplacementsField = ""
    use_parallel: ParallelField = True


class ServerVad(BaseModel):
    """OpenAI's settings of voice activity detection."""

    type: Literal["server_vad"]
    prefix_padding_ms: int = Field(300, ge=0, le=5000)
    silence_duration_ms: int = Field(200, ge=0, le=10_000)
    threshold: float = Field(0.5, ge=0, le=1)

    def options(self) -> VadOptions:
        return VadOptions(
            threshold=self.threshold,
            min_silence_s=self.silence_duration_ms / 1000,
            padding_s=self.prefix_padding_ms / 1000,
        )


@dataclass(frozen=True, slots=True)
class Chunking:
    """chunking_strategy: "auto" or JSON in one part, or a part for each of its fields, as SDKs send it."""

    strategy: Annotated[
        str | None,
        Form(
            alias="chunking_strategy",
            description="auto: voice activity detection as configured; or server_vad's settings, as a JSON object",
            examples=['{"type": "server_vad", "threshold": 0.6}'],
        ),
    ] = None
    type: Annotated[
        Literal["auto", "server_vad"] | None,
        Form(
            alias="chunking_strategy[type]",
            description="the same, one field at a time",
            examples=["server_vad"],
        ),
    ] = None
    prefix_padding_ms: Annotated[
        int | None,
        Form(
            alias="chunking_strategy[prefix_padding_ms]",
            ge=0,
            le=5000,
            description="milliseconds kept on either side of speech; server_vad's default is 300",
            examples=[300],
        ),
    ] = None
    silence_duration_ms: Annotated[
        int | None,
        Form(
            alias="chunking_strategy[silence_duration_ms]",
            ge=0,
            le=10_000,
            description="milliseconds; shorter pauses do not end speech; server_vad's default is 200",
            examples=[200],
        ),
    ] = None
    threshold: Annotated[
        float | None,
        Form(
            alias="chunking_strategy[threshold]",
            ge=0,
            le=1,
            description="probability of speech at which speech begins; server_vad's default is 0.5",
            examples=[0.5],
        ),
    ] = None

    def vad(self) -> VadOptions | None:
        """None: as configured."""
        parts = (self.prefix_padding_ms, self.silence_duration_ms, self.threshold)
        if self.strategy not in (None, "", "auto"):
            return server_vad(self.strategy)
        if self.type == "server_vad" or (self.type is None and any(part is not None for part in parts)):
            named = zip(("prefix_padding_ms", "silence_duration_ms", "threshold"), parts, strict=True)
            given = {name: part for name, part in named if part is not None}
            return ServerVad(type="server_vad", **given).options()
        return None


def server_vad(text: str) -> VadOptions:
    try:
        return ServerVad.model_validate_json(text).options()
    except ValidationError as e:
        first = e.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise mistake(
            "chunking_strategy", f"neither auto nor server_vad's settings as JSON; {where}{first['msg']}"
        ) from e


@dataclass(frozen=True, slots=True)
class Details:
    """The fields of transcriptions alone. Each list comes with and without brackets after its name."""

    granularities: Annotated[
        tuple[Granularity, ...],
        Listed,
        Form(alias="timestamp_granularities[]", description=GRANULARITIES, examples=[["word", "segment"]]),
    ] = ()
    more_granularities: Annotated[
        tuple[Granularity, ...],
        Listed,
        Form(alias="timestamp_granularities", description=GRANULARITIES, examples=[["word"]]),
    ] = ()
    include: Annotated[
        tuple[Included, ...], Listed, Form(alias="include[]", description=INCLUDE, examples=[["logprobs"]])
    ] = ()
    more_include: Annotated[
        tuple[Included, ...], Listed, Form(alias="include", description=INCLUDE, examples=[["logprobs"]])
    ] = ()
    keywords: Annotated[
        tuple[str, ...], Listed, Form(alias="keywords[]", description=KEYWORDS, examples=[["Kaliko"]])
    ] = ()
    more_keywords: Annotated[
        tuple[str, ...], Listed, Form(alias="keywords", description=KEYWORDS, examples=[["Kaliko"]])
    ] = ()
    stream: Annotated[
        bool,
        Form(
            description="true: answer with server-sent events, whatever response_format is", examples=[True]
        ),
    ] = False


NO_DETAILS = Details()


def render_options(form: TranscriptionForm, details: Details = NO_DETAILS) -> RenderOptions:
    """What to show. Raises RequestValidationError for words in a format that cannot list them.

    Words are left out of streams, which have no format, and where a gpt-4o model is asked for by its name: clients
    such as Vercel's send them with the only format that OpenAI's own has.
    """
    granularities = {*details.granularities, *details.more_granularities} or {"segment"}
    lists_words = FORMATS[form.response_format].lists_words
    left_out = details.stream or (form.model.startswith(WITHOUT_WORDS) and not lists_words)
    words = "word" in granularities and not left_out
    if words and not lists_words:
        able = " or ".join(name for name, row in FORMATS.items() if row.lists_words)
        raise mistake("timestamp_granularities[]", f"word needs response_format {able}")
    included = {*details.include, *details.more_include}
    layout = Layout(form.max_line_width, form.max_line_count, form.max_words_per_line)
    return RenderOptions("segment" in granularities, words, "logprobs" in included, layout)


def options_of(
    form: TranscriptionForm,
    render: RenderOptions,
    task: Task,
    details: Details = NO_DETAILS,
    vad: VadOptions | None = None,
) -> Options:
    names = (form.hotwords, *details.keywords, *details.more_keywords)
    options = Options(
        multilingual=form.multilingual,
        task=task,
        prompt=form.prompt,
        hotwords=", ".join(name for name in names if name),
        temperature=form.temperature,
        word_timestamps=render.words or render.layout != AS_SEGMENTS,
        logprobs=render.logprobs,
        vad=vad,
        use_parallel=form.use_parallel,
        channels=form.channels,
        replacements=replacements_of(form.replacements),
    )
    return with_languages(options, form.language, *form.languages, *form.more_languages)
