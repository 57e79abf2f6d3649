"""Runs a replica's inference batches: which windows must not be in one, and whose fault it is that one failed.

What nobody waits for any more is not transcribed; what replicas died of is
transcribed alone or not at all; a batch that fails is run window by window.
That is the one place where a batch is split: here every engine's errors come
together with the windows, their requests and the crash journal. Knows no Ray.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whisper_serve.engines import Engine, Outcome, Prepared
from whisper_serve.errors import ModelFailed, PoisonWindow, TimedOut, TranscriptionError
from whisper_serve.serving.crash_journal import QUARANTINE_DEATHS, CrashJournal, name_of, quarantine
from whisper_serve.telemetry import metrics
from whisper_serve.telemetry.logs import request
from whisper_serve.telemetry.metrics import record
from whisper_serve.types import Window, WindowResult

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class WindowRequest:
    """A window that a replica is asked to transcribe; what is known once it is prepared comes last."""

    window: Window
    until: float  # moment of time.monotonic() after which nobody waits for it
    request_id: str
    deaths: int = 0  # of replicas, that its caller counts against it
    name: str = ""  # in the crash journal
    prepared: Prepared = None  # by the engine
    prepare_s: float = 0.0


class BatchRunner:
    """`prepare` and `run` are a Batcher's. dead_letters: a folder for the windows that are refused; None: nowhere."""

    def __init__(self, engine: Engine, journal: CrashJournal, dead_letters: Path | None) -> None:
        self._engine = engine
        self._journal = journal
        self._dead_letters = dead_letters

    def prepare(self, asked: WindowRequest) -> WindowRequest | Outcome:
        """The request, prepared; or its outcome, where it has one without inference."""
        name, began = name_of(asked.window), time.perf_counter()
        deaths = max(asked.deaths, self._journal.deaths(name))  # a death may be in both counts
        if asked.until <= time.monotonic():
            return TimedOut("it waited for longer than it may")
        if deaths >= QUARANTINE_DEATHS:
            return self._refuse(asked, name)
        with request(asked.request_id), self._journal.processing([name], alone=deaths > 0):
            try:
                prepared = self._engine.prepare(asked.window)
            except TranscriptionError as e:
                return e
            except Exception as e:  # whatever an engine raises else is its own failure
                return failed(e, 1)
        took = time.perf_counter() - began
        return replace(asked, deaths=deaths, name=name, prepared=prepared, prepare_s=took)

    def run(self, batch: Sequence[WindowRequest | Outcome]) -> list[Outcome]:
        """Infer what is prepared: together, but what replicas died of alone."""
        requests = [one for one in batch if isinstance(one, WindowRequest)]
        together = [one for one in requests if not one.deaths]
        outcomes: dict[WindowRequest, Outcome] = {}
        for group in [*([one] for one in requests if one.deaths), together]:
            outcomes.update(zip(group, self._infer(group), strict=True))
        return [outcomes[one] if isinstance(one, WindowRequest) else one for one in batch]

    def _infer(self, batch: Sequence[WindowRequest]) -> list[Outcome]:
        """One inference batch; where it fails, each of its windows alone, to learn whose fault it is."""
        if not batch:
            return []
        ids = ",".join(dict.fromkeys(one.request_id for one in batch))
        with request(ids), self._journal.batch([one.name for one in batch], alone=batch[0].deaths > 0):
            began = time.perf_counter()
            try:
                outcomes = self._engine.transcribe([one.prepared for one in batch])
            except Exception as e:  # as above
                failure = failed(e, len(batch))
            else:
                return self._account(batch, outcomes, time.perf_counter() - began)
        if len(batch) == 1:
            return [failure]
        return [outcome for one in batch for outcome in self._infer([one])]

    def _account(
        self, batch: Sequence[WindowRequest], outcomes: Sequence[Outcome], seconds: float
    ) -> list[Outcome]:
        """Give each window its share of the batch, by its length."""
        lengths = [one.window.seconds for one in batch]
        total, seconds = sum(lengths) or 1.0, seconds + sum(one.prepare_s for one in batch)
        gpu_memory = self._engine.gpu_memory_gb()
        count(len(batch), total, seconds)
        return [
            replace(
                o,
                engine=self._engine.name,
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

    def _refuse(self, asked: WindowRequest, name: str) -> PoisonWindow:
        fields: dict[str, object] = {"request_id": asked.request_id, "hash": name}
        if self._dead_letters:
            fields["path"] = str(quarantine(asked.window, name, asked.request_id, self._dead_letters))
        log.error("a window that ended %d replicas is refused", QUARANTINE_DEATHS, extra=fields)
        return PoisonWindow(
            f"{QUARANTINE_DEATHS} model replicas died while transcribing it, and it is not tried again"
        )


def failed(error: Exception, windows: int) -> ModelFailed:
    """To be called where it is handled: the log gets its traceback."""
    log.exception("the engine failed on %d windows", windows)
    record(metrics.ENGINE_FAILURES)
    return ModelFailed(f"the model failed ({type(error).__name__})")


def count(windows: int, audio_s: float, seconds: float) -> None:
    """An inference batch that succeeded."""
    record(metrics.BATCH_WINDOWS, windows)
    record(metrics.BATCH_AUDIO, audio_s)
    record(metrics.BUSY, seconds)
    record(metrics.TRANSCRIBED_AUDIO, audio_s)
