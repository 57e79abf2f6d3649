"""config.json and the environment in, one frozen Config out: the only reader of either.

A setting is one field: its type, bounds, default and description stand here, or in
sections.py for the door's, and nowhere else (the README's table is made from them). Each can be overridden
by the environment as WHISPER_SERVE__SECTION__FIELD.
"""

import difflib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from whisper_serve.engines import ENGINES
from whisper_serve.errors import ConfigError
from whisper_serve.filters import FILTERS, FilterSettings
from whisper_serve.sections import Autoscaling, Logging, Section, Security, Server, Tracing
from whisper_serve.types import WINDOW_S, VadOptions
from whisper_serve.weight_sources import NAMES

ENV_PREFIX = "WHISPER_SERVE__"


def nearest(name: str, known: Iterable[str], section: Iterable[Any] = ()) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {'.'.join([*map(str, section), close[0]])}?" if close else ""


def one_of(name: str, known: list[str]) -> str:
    if name not in known:
        raise ValueError(f"{name!r} is not one of {', '.join(known)}{nearest(name, known)}")
    return name


class Model(Section):
    size: str = Field(
        "base", description="a Whisper name (tiny ... large-v3, turbo, tiny.en ...) or a local path"
    )
    device: Literal["auto", "cuda", "cpu"] = Field("auto", description="auto: a GPU where there is one")
    model_dir: Path = Field(Path("models"), description="where weights are kept")
    supported_formats: tuple[str, ...] = Field(
        ("*",),
        description='file formats accepted, told by content, such as ".wav"; "*": all that can be decoded',
    )
    engine: str = Field(
        "auto",
        description=f"auto, or one of: {', '.join(ENGINES)}; auto: on a GPU openai_whisper, on a CPU that multiplies bfloat16 openvino, on others ctranslate2",
    )
    compute_type: str = Field(
        "auto", description="the engine's number type, such as int8, bfloat16, float32; auto: its best"
    )
    context: Literal["adaptive", "full"] = Field(
        "adaptive", description="encode what was said, or always 30 s"
    )
    window_s: float = Field(
        WINDOW_S, ge=5, le=WINDOW_S, description="seconds of speech heard in one pass, at most"
    )

    aliases: tuple[str, ...] = Field(
        (
            "whisper-1",
            "gpt-transcribe",
            "gpt-4o-transcribe",
            "gpt-4o-mini-transcribe",
            "openai/whisper-{size}",
            "Systran/faster-whisper-{size}",
        ),
        description="other ids by which OpenAI's clients may ask for the model; {size} stands for its own",
    )

    @property
    def ids(self) -> tuple[str, ...]:
        """What clients may call the model: its own id, then its aliases. A local path goes by its last part."""
        own = Path(self.size).name.removesuffix(".pt")
        return (own, *(alias.replace("{size}", own) for alias in self.aliases))

    @model_validator(mode="after")
    def _known_size(self) -> "Model":
        """A name that is no path on this machine is checked here; files are checked where they are loaded."""
        if not (Path(self.size).exists() or (self.model_dir / self.size).exists() or os.sep in self.size):
            one_of(self.size, list(NAMES))
        return self

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, name: str) -> str:
        return one_of(name, ["auto", *ENGINES])

    @field_validator("supported_formats")
    @classmethod
    def _dotted(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        for name in formats:
            if name != "*" and not name.startswith("."):
                raise ValueError(f'{name!r} in it should be a file-name ending such as ".wav", or "*"')
        return tuple(name.lower() for name in formats)


class Deployment(Section):
    num_replicas: int = Field(2, ge=1, description="model replicas, each with the model in memory")
    max_replicas_per_node: int | None = Field(
        None, ge=1, description="model replicas one node of a cluster may hold; null: any number"
    )
    autoscaling: Autoscaling | None = Field(
        None,
        description='an object such as {"min_replicas": 1, "max_replicas": 8}: replicas come and go with the '
        "audio that waits, and num_replicas does not count; null: they do not",
    )
    cpu_per_replica: float = Field(
        0.5,
        ge=0,
        description="CPUs Ray reserves for a model replica; it hears as many batches at once, at least one",
    )
    cpu_affinity: bool = Field(
        False, description="keep each model replica to CPUs of its own, as many as it hears batches (Linux)"
    )
    gpu_per_replica: float = Field(
        0.1, ge=0, description="share of a GPU for a model replica; counts only where the device is a GPU"
    )
    max_batch_audio_s: float | None = Field(
        None,
        ge=30,
        description="seconds of audio a replica hears in one batch; null: 80 on CPUs, 480 on GPUs",
    )
    batch_wait_timeout_s: float = Field(
        0.0, ge=0, description="longest wait for a fuller batch; a busy replica gathers one without waiting"
    )
    max_retries: int = Field(
        3,
        ge=0,
        description="times a window is tried again where the model fails on it; where a replica dies it is heard "
        "by another, but what two died of is refused",
    )
    health_check_period_s: float = Field(2, gt=0, description="how often Ray asks replicas whether they live")
    health_check_timeout_s: float = Field(
        30, gt=0, description="a replica that does not answer for so long is replaced"
    )

    @property
    def fewest(self) -> int:
        """Model replicas that are always there."""
        return self.autoscaling.min_replicas if self.autoscaling else self.num_replicas

    @property
    def most(self) -> int:
        """Model replicas that there may be."""
        return self.autoscaling.max_replicas if self.autoscaling else self.num_replicas


class Vad(Section):
    method: Literal["silero", "energy", "off"] = Field(
        VadOptions().method, description="how speech is told from the rest"
    )
    threshold: float = Field(
        VadOptions().threshold, gt=0, lt=1, description="speech probability at which speech begins"
    )
    min_speech_s: float = Field(VadOptions().min_speech_s, ge=0, description="shorter sounds are not speech")
    min_silence_s: float = Field(
        VadOptions().min_silence_s, ge=0, description="shorter pauses do not end speech"
    )
    padding_s: float = Field(VadOptions().padding_s, ge=0, le=5, description="kept on either side of speech")

    def options(self) -> VadOptions:
        return VadOptions(**self.model_dump())


class Quality(Section):
    temperatures: tuple[float, ...] = Field(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        min_length=1,
        description="tried in order while a window's text looks wrong",
    )
    compression_ratio_threshold: float = Field(
        2.4, gt=0, description="text that compresses better repeats itself: try warmer"
    )
    logprob_threshold: float = Field(-1.0, le=0, description="mean log-probability below which to try warmer")
    no_speech_threshold: float = Field(
        FilterSettings().no_speech_prob,
        ge=0,
        le=1,
        description="no-speech probability above which unlikely text is silence",
    )
    filters: tuple[str, ...] = Field(tuple(FILTERS), description="filters against invented words, in order")

    @field_validator("filters")
    @classmethod
    def _known_filters(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one_of(name, list(FILTERS)) for name in names)


class Config(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_parse_none_str="null",
    )

    server: Server = Server()
    security: Security = Security()
    model: Model = Model()
    deployment: Deployment = Deployment()
    vad: Vad = Vad()
    quality: Quality = Quality()
    logging: Logging = Logging()
    tracing: Tracing = Tracing()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over the file


def load_config(path: str | Path) -> Config:
    """Read a JSON file and the environment; raise ConfigError with one sentence where either is wrong."""
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"cannot read {path}: {e.strerror}") from e
    except ValueError as e:
        raise ConfigError(f"{path} is not JSON: {e}") from e
    if not isinstance(fields, dict):
        raise ConfigError(f"{path} must hold a JSON object")
    check_environment(os.environ)
    section = ""
    try:
        for section, values in fields.items():
            check_types(section, values)
        section = ""
        return Config(**fields)
    except ValidationError as e:
        raise ConfigError(complaint(e, section)) from e
    except SettingsError as e:
        raise ConfigError(f"the environment: {e}; lists are written as JSON") from e


def check_types(section: str, values: Any) -> None:
    """Hold the file to JSON's own types; the environment, where all is text, may be converted."""
    field = Config.model_fields.get(section)
    if field and isinstance(field.annotation, type) and issubclass(field.annotation, Section):
        field.annotation.model_validate_json(json.dumps(values), strict=True)


def check_environment(names: Iterable[str]) -> None:
    """Refuse a WHISPER_SERVE__ variable whose section does not exist; fields are checked with the file's."""
    for name in names:
        if name.upper().startswith(ENV_PREFIX):
            section = name[len(ENV_PREFIX) :].split("__")[0].lower()
            if section not in Config.model_fields:
                raise ConfigError(f"{name} names no section{nearest(section, Config.model_fields)}")


def complaint(error: ValidationError, section: str = "") -> str:
    """Its first finding, as one sentence that names the field as config.json would."""
    first = error.errors()[0]
    path = [*([section] if section else []), *map(str, first["loc"])]
    where = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"{where} is not a setting{nearest(path[-1], fields_of(path[:-1]), path[:-1])}"
    said = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    if first["type"] == "model_type":
        said = "it should be an object"
    return f"{where} is {json.dumps(first['input'], default=str)}; {said}"


def fields_of(path: list[str]) -> Iterable[str]:
    fields = Config.model_fields
    for name in path:
        annotation = fields[name].annotation
        kind = next(
            (kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields")), None
        )
        fields = getattr(kind, "model_fields", {})
    return fields
