"""The seam to speech models: what an engine must do, which ones there are, and how one is loaded.

To add one: write engines/<name>.py with a class that satisfies Engine, and
list it here. The table holds import paths, not classes: naming an engine must
not load torch.
"""

import logging
import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from whisper_serve.engines.batches import by_length
from whisper_serve.errors import ConfigError, TranscriptionError, WeightsError
from whisper_serve.types import Window, WindowResult

log = logging.getLogger(__name__)

Outcome = WindowResult | TranscriptionError  # of one window
Prepared = Any  # an engine's own form of a window, which only that engine looks into

# What makes an Engine of EngineSettings: a class, or a function.
ENGINES = {
    "openvino": "whisper_serve.engines.openvino.engine:load",
    "ctranslate2": "whisper_serve.engines.ctranslate2:load",
    "openai_whisper": "whisper_serve.engines.openai_whisper:load",
    "fake": "whisper_serve.engines.fake:FakeEngine",
}
# For the service's own tests: an import path in place of the fake's.
FAKE_VARIABLE = "WHISPER_SERVE_FAKE_ENGINE"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """All an engine may know of the world."""

    weights: Path | None  # a .pt checkpoint or a CTranslate2 folder; None for engines without any
    device: Literal["cpu", "cuda"] = "cpu"
    cpus: int = 1  # CPU threads in all, over its workers
    compute_type: str = "auto"  # the engine's own name of a number type; auto: its best on the device
    context: Literal["adaptive", "full"] = "adaptive"  # encode the speech and a margin, or always 30 s


class Engine(Protocol):
    name: str  # its key in ENGINES
    workers: int  # inference batches that run at once, on one copy of the weights; further calls wait
    largest_batch: int  # windows beyond which a batch gains nothing

    def batch_key(self, window: Window) -> Hashable:
        """What windows must have in common to share an inference batch, apart from like lengths.

        Only what this engine cannot mix. Raises nothing: `prepare` judges the window.
        """

    def prepare(self, window: Window) -> Prepared:
        """Check the window, and do what gains nothing from a batch. Raises BadRequest.

        Blocking; called from several threads at once.
        """

    def transcribe(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """Transcribe windows of one key as one inference batch, of `largest_batch` at most.

        Results are in order, their times in seconds from each window's start. What breaks the batch is
        raised as it is: the caller runs its windows one by one then, to learn which of them it was.
        Blocking; called from several threads at once.
        """

    def gpu_memory_gb(self) -> float:
        """Gigabytes (1e9) of GPU memory in use by this process; 0 on a CPU."""


def transcribe(engine: Engine, windows: Sequence[Window]) -> list[Outcome]:
    """Transcribe windows that are all known, in as few batches as their keys and lengths allow."""
    outcomes: dict[int, Outcome] = {}
    prepared: dict[int, Prepared] = {}
    keys: dict[Hashable, list[int]] = {}
    for i, window in enumerate(windows):
        try:
            prepared[i] = engine.prepare(window)
        except TranscriptionError as e:
            outcomes[i] = e
        else:
            keys.setdefault(engine.batch_key(window), []).append(i)
    for rows in keys.values():
        for batch in by_length(rows, lambda i: windows[i].seconds, engine.largest_batch):
            outcomes.update(zip(batch, engine.transcribe([prepared[i] for i in batch]), strict=True))
    return [outcomes[i] for i in range(len(windows))]


def load_engine(name: str, settings: EngineSettings) -> Engine:
    """Import the engine called `name` and load its weights (seconds to minutes); auto: a CPU's fastest.

    Raises ConfigError, WeightsError.
    """
    if name == "auto":
        return _fastest(settings)
    path = os.environ.get(FAKE_VARIABLE, ENGINES[name]) if name == "fake" else ENGINES[name]
    module, _, factory = path.partition(":")
    engine: Engine = getattr(import_module(module), factory)(settings)
    return engine


def _fastest(settings: EngineSettings) -> Engine:
    """OpenVINO on a CPU with bfloat16 instructions, else CTranslate2, which runs everywhere."""
    try:
        # It may be missing, or not work here, or not read weights that CTranslate2 does: quantized ones.
        import_module("whisper_serve.engines.openvino.runtime").check_fast(settings.compute_type)
        engine = load_engine("openvino", settings)
    except (ImportError, RuntimeError, ConfigError, WeightsError) as e:
        log.info("transcribing with CTranslate2, not OpenVINO: %s", e)
        return load_engine("ctranslate2", settings)
    log.info("transcribing with OpenVINO")
    return engine
