"""Ways to run Whisper: windows in, what was heard out.

To add one: write engines/<name>.py with a class that satisfies Engine, and
list it here. The table holds import paths, not classes: naming an engine must
not load torch.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from whisper_serve.errors import ConfigError, TranscriptionError, WeightsError
from whisper_serve.types import Window, WindowResult

log = logging.getLogger(__name__)

Outcome = WindowResult | TranscriptionError  # of one window

ENGINES = {
    "openvino": "whisper_serve.engines.openvino.engine:OpenVINOEngine",
    "ctranslate2": "whisper_serve.engines.ctranslate2:CTranslate2Engine",
    "openai_whisper": "whisper_serve.engines.openai_whisper:OpenAIWhisperEngine",
    "fake": "whisper_serve.engines.fake:FakeEngine",
}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """All an engine may know of the world."""

    weights: Path | None  # a .pt checkpoint or a CTranslate2 folder; None for engines without any
    device: Literal["cpu", "cuda"] = "cpu"
    cpus: int = 1  # CPU threads in all, over its workers
    compute_type: str = "auto"  # the engine's own name of a number type; auto: its best on the device
    context: Literal["adaptive", "full"] = (
        "adaptive"  # what the model is shown: speech and a margin, or always 30 s
    )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A window, and what can be done for it before its neighbours in a batch are known."""

    window: Window
    state: Any = None  # the engine's own


class Engine(Protocol):
    workers: int  # passes that run at once, on one copy of the weights; further calls wait
    largest_batch: int  # windows beyond which a pass gains nothing

    def prepare(self, window: Window) -> Prepared:
        """Do what gains nothing from a batch. Blocking; called from several threads at once."""

    def transcribe(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """Hear every window; answer in order, with times from each window's start.

        A window that fails is answered with its error, not raised: raising
        would fail its neighbours in the batch, who asked for something else.
        Blocking; called from several threads at once.
        """

    def gpu_memory_gb(self) -> float:
        """Gigabytes (1e9) of GPU memory in use by this process; 0 on a CPU."""


def transcribe(engine: Engine, windows: Sequence[Window]) -> list[Outcome]:
    """Prepare and hear a batch that is known from the beginning."""
    return engine.transcribe([engine.prepare(window) for window in windows])


def load_engine(name: str, settings: EngineSettings) -> Engine:
    """Import the engine called `name` and load its weights (seconds to minutes); auto: a CPU's fastest.

    Raises ConfigError, WeightsError.
    """
    if name == "auto":
        return _fastest(settings)
    module, _, cls = ENGINES[name].partition(":")
    engine: Engine = getattr(import_module(module), cls)(settings)
    return engine


def _fastest(settings: EngineSettings) -> Engine:
    """OpenVINO where this CPU multiplies bfloat16, else CTranslate2, which runs everywhere."""
    try:
        # It may be missing, or not work here, or not read weights that CTranslate2 does: quantized ones.
        import_module("whisper_serve.engines.openvino.runtime").check_fast(settings.compute_type)
        engine = load_engine("openvino", settings)
    except (ImportError, RuntimeError, ConfigError, WeightsError) as e:
        log.info("hearing with CTranslate2, not OpenVINO: %s", e)
        return load_engine("ctranslate2", settings)
    log.info("hearing with OpenVINO")
    return engine
