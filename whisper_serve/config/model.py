"""Settings of the model: which, in how many replicas, how it finds speech and which texts it believes."""

import os
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from whisper_serve.config.defaults import per_device
from whisper_serve.engines import ENGINES
from whisper_serve.section import STRICT, Section, choices, one_of, refusal
from whisper_serve.text.filters import FILTERS, Thresholds
from whisper_serve.types import WINDOW_S, VadOptions
from whisper_serve.weights.catalog import NAMES

HEDGE_BURST = (
    16  # windows that may be given to another replica too, before deployment.hedge_share bounds them
)


class Model(Section):
    size: str = Field(
        "base", description="a Whisper name (tiny ... large-v3, turbo, tiny.en ...) or a local path"
    )
    device: Literal["auto", "cuda", "cpu"] = Field("auto", description="auto: a GPU where there is one")
    model_dir: Path = Field(Path("models"), description="where weights are kept")
    supported_formats: tuple[str, ...] = Field(
        ("*",),
        description='file formats accepted, recognised by content, such as ".wav"; "*": all that can be decoded',
    )
    engine: str = Field(
        "auto",
        description=f"auto, or one of: {', '.join(ENGINES)}; auto: on a GPU openai_whisper, on a CPU with bfloat16 "
        "instructions openvino, on others ctranslate2",
    )
    compute_type: str = Field(
        "auto", description="the engine's number type, such as int8, bfloat16, float32; auto: its best"
    )
    context: Literal["adaptive", "full"] = Field(
        "adaptive", description="what is encoded of a window: its speech and a margin, or always 30 s"
    )
    window_s: float = Field(
        WINDOW_S, ge=5, le=WINDOW_S, description="longest speech transcribed in one window, in seconds"
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
        is_path = Path(self.size).exists() or (self.model_dir / self.size).exists() or os.sep in self.size
        if not is_path and self.size not in NAMES:
            raise refusal("size", self.size, choices(self.size, NAMES))
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
        description="fewest model replicas; 0: none while there are no requests, and the next one waits until a "
        "replica has started",
    )
    max_replicas: int = Field(4, ge=1, description="most model replicas")
    target_audio_s: float | None = Field(
        None,
        gt=0,
        description="audio that should be outstanding at a replica, waiting included, in seconds; "
        + per_device("target_audio_s"),
    )
    look_back_period_s: float = Field(20, gt=0, description="seconds over which that is averaged")
    upscale_delay_s: float = Field(
        5, ge=0, description="how long there must be too much before replicas are added"
    )
    downscale_delay_s: float = Field(
        600,
        ge=0,
        description="how long there must be too little before replicas are removed; well above what a start takes",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Autoscaling":
        if self.min_replicas > self.max_replicas:
            too_many = f"it should be at most max_replicas, {self.max_replicas}"
            raise refusal("min_replicas", self.min_replicas, too_many)
        return self


class Deployment(Section):
    num_replicas: int = Field(2, ge=1, description="model replicas, each with the model in memory")
    max_replicas_per_node: int | None = Field(
        None, ge=1, description="model replicas one node of a cluster may hold; null: any number"
    )
    autoscaling: Autoscaling | None = Field(
        None,
        description='an object such as {"min_replicas": 1, "max_replicas": 8}: replicas are added and removed with '
        "the outstanding audio, and num_replicas does not count; null: their number is fixed",
    )
    cpu_per_replica: float = Field(
        0.5,
        ge=0,
        description="CPUs Ray reserves for a model replica, which runs as many batches at once, at least one",
    )
    cpu_affinity: bool = Field(
        False, description="keep each model replica to CPUs of its own, as many as it runs batches (Linux)"
    )
    gpu_per_replica: float = Field(
        0.1, ge=0, description="share of a GPU for a model replica; counts only where the device is a GPU"
    )
    max_batch_audio_s: float | None = Field(
        None,
        ge=30,
        description=f"audio a replica transcribes in one batch, in seconds; {per_device('batch_audio_s')}",
    )
    batch_wait_timeout_s: float = Field(
        0.0, ge=0, description="longest wait for a fuller batch; a busy replica gathers one without waiting"
    )
    max_retries: int = Field(
        3,
        ge=0,
        description="times a window is tried again where the model fails on it; where a replica dies, another one "
        "transcribes its windows, but a window that two died of is refused",
    )
    hedge_after: float | None = Field(
        10,
        ge=1,
        description="a window that waits longer than so many times its expected time, which the ingress measures, is given to "
        "another replica too, and the first answer counts; null: never",
    )
    hedge_min_s: float = Field(
        1,
        gt=0,
        description="no window is given to another replica before it has waited for so long, in seconds",
    )
    hedge_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description=f"share of all windows that may be given to another replica too, beside {HEDGE_BURST} at once",
    )
    health_check_period_s: float = Field(
        2, gt=0, description="how often Ray checks that replicas answer, in seconds"
    )
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


@dataclass(frozen=True, slots=True, config=STRICT)
class Vad(VadOptions):
    """Each field of VadOptions is a setting."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Quality(Thresholds):
    """Each field of Thresholds is a setting, and two more."""

    temperatures: tuple[float, ...] = field(
        default=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        metadata={
            "min_length": 1,
            "description": "tried in order while a window's text is repetitive or unlikely",
        },
    )
    filters: tuple[Annotated[str, AfterValidator(lambda name: one_of(name, FILTERS))], ...] = field(
        default=tuple(FILTERS),
        metadata={"description": "filters against text that nobody said, in order"},
    )
