"""Settings of the model: which, in how many replicas, how it detects speech and judges its words. A setting is one field."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from whisper_serve.engines import ENGINES
from whisper_serve.section import Section, one_of
from whisper_serve.text.filters import FILTERS, Thresholds
from whisper_serve.types import WINDOW_S, VadOptions
from whisper_serve.weights.catalog import NAMES


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


class Autoscaling(Section):
    """Between how many model replicas to move, and when."""

    min_replicas: int = Field(
        1,
        ge=0,
        description="fewest model replicas; 0: none while nobody asks, and who asks first waits until one has started",
    )
    max_replicas: int = Field(4, ge=1, description="most model replicas")
    target_audio_s: float | None = Field(
        None,
        gt=0,
        description="audio a replica should have in hand, waiting included, in seconds; null: 60 on CPUs, 960 on GPUs",
    )
    look_back_period_s: float = Field(20, gt=0, description="seconds over which that is averaged")
    upscale_delay_s: float = Field(
        5, ge=0, description="how long there must be too much before replicas are added"
    )
    downscale_delay_s: float = Field(
        600,
        ge=0,
        description="how long there must be too little before replicas go; well above what a start takes",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Autoscaling":
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is more than max_replicas")
        return self


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
        Thresholds().no_speech_threshold,
        ge=0,
        le=1,
        description="no-speech probability above which unlikely text is silence",
    )
    filters: tuple[str, ...] = Field(tuple(FILTERS), description="filters against invented words, in order")

    @field_validator("filters")
    @classmethod
    def _known_filters(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one_of(name, list(FILTERS)) for name in names)
