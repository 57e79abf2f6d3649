"""What callers asked in, outcomes out: one engine's passes, and who must not be in them.

What came too late is not heard, what ended processes is heard alone or not at
all, and an engine that breaks on a batch is asked window by window. Knows no Ray.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whisper_serve.engines import Engine, Outcome, Prepared
from whisper_serve.errors import ModelFailed, PoisonWindow, TimedOut
from whisper_serve.serving.crash_journal import CrashJournal, name_of, quarantine
from whisper_serve.telemetry import metrics
from whisper_serve.telemetry.logs import request
from whisper_serve.telemetry.metrics import record
from whisper_serve.types import Window, WindowResult

DEADLY = 2  # deaths of replicas under a window, before it is refused
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """A window that somebody asked a replica to hear."""

    window: Window
    until: float  # moment of time.monotonic() after which nobody waits for it
    request_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """It is prepared, and to be heard."""

    asked: Asked
    name: str  # in the journal
    prepared: Prepared
    alone: bool  # processes ended while they heard it
    seconds: float  # that preparing took


class BatchRunner:
    """`prepare` and `run` are a Batcher's. dead_letters: a folder for what is refused as deadly; None: nowhere."""

    def __init__(self, engine: Engine, journal: CrashJournal, dead_letters: Path | None) -> None:
        self._engine = engine
        self._journal = journal
        self._dead_letters = dead_letters

    def prepare(self, asked: Asked) -> Ready | Outcome:
        """Its outcome, where it has one without being heard."""
        name, began = name_of(asked.window), time.perf_counter()
        deaths = self._journal.deaths(name)
        if asked.until <= time.monotonic():
            return TimedOut("it waited for longer than it may")
        if deaths >= DEADLY:
            return self._refuse(asked, name)
        with request(asked.request_id), self._journal.marked([name]):
            try:
                prepared = self._engine.prepare(asked.window)
            except Exception as e:  # an engine answers errors; what it raises is its own failure
                return failed(e, 1)
        return Ready(asked, name, prepared, alone=deaths > 0, seconds=time.perf_counter() - began)

    def run(self, batch: Sequence[Ready | Outcome]) -> list[Outcome]:
        """Hear what is prepared: together, or alone what must be."""
        ready = [one for one in batch if isinstance(one, Ready)]
        passes = [[one] for one in ready if one.alone] + [[one for one in ready if not one.alone]]
        heard = {
            one: outcome for group in passes for one, outcome in zip(group, self._pass(group), strict=True)
        }
        return [heard[one] if isinstance(one, Ready) else one for one in batch]

    def _pass(self, batch: Sequence[Ready]) -> list[Outcome]:
        if not batch:
            return []
        ids = ",".join(dict.fromkeys(ready.asked.request_id for ready in batch))
        with request(ids), self._journal.during([ready.name for ready in batch]):
            return self._hear(batch)

    def _hear(self, batch: Sequence[Ready]) -> list[Outcome]:
        began = time.perf_counter()
        try:
            outcomes = self._engine.transcribe([ready.prepared for ready in batch])
        except Exception as e:  # as above
            outcome = failed(e, len(batch))
            if len(batch) == 1:
                return [outcome]
            return [outcome for ready in batch for outcome in self._hear([ready])]  # who is it?
        return self._account(batch, outcomes, time.perf_counter() - began)

    def _account(self, batch: Sequence[Ready], outcomes: list[Outcome], seconds: float) -> list[Outcome]:
        """Give each window its share of the pass, by its length."""
        lengths = [ready.asked.window.seconds for ready in batch]
        total, seconds = sum(lengths) or 1.0, seconds + sum(ready.seconds for ready in batch)
        gpu_memory = self._engine.gpu_memory_gb()
        count(len(batch), total, seconds)
        return [
            replace(
                o,
                inference_s=seconds * length / total,
                batch_inference_s=seconds,
                batch_windows=len(batch),
                batch_audio_s=total,
                gpu_memory_gb=gpu_memory,
            )
            if isinstance(o, WindowResult)
            else o
            for length, o in zip(lengths, outcomes, strict=True)
        ]

    def _refuse(self, asked: Asked, name: str) -> PoisonWindow:
        fields: dict[str, object] = {"request_id": asked.request_id, "hash": name}
        if self._dead_letters:
            fields["path"] = str(quarantine(asked.window, name, asked.request_id, self._dead_letters))
        log.error("a window that ended %d replicas is refused", DEADLY, extra=fields)
        return PoisonWindow(f"{DEADLY} model replicas died while hearing it, and it is not tried again")


def failed(error: Exception, windows: int) -> ModelFailed:
    """To be called where it is handled: the log gets its traceback."""
    log.exception("the engine failed on %d windows", windows)
    record(metrics.ENGINE_FAILURES)
    return ModelFailed(f"the model failed ({type(error).__name__})")


def count(windows: int, audio_s: float, seconds: float) -> None:
    """A batch that was heard."""
    record(metrics.BATCH_WINDOWS, windows)
    record(metrics.BATCH_AUDIO, audio_s)
    record(metrics.BUSY, seconds)
    record(metrics.TRANSCRIBED_AUDIO, audio_s)
