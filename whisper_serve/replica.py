"""The model, as Ray Serve runs it: one engine a replica, windows in batches.

Ray's errors stop here: `Remote` makes a handle plain functions that fail
only in our own words.
"""

import asyncio
import math
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from opentelemetry.trace import SpanKind
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from whisper_serve import deadline
from whisper_serve.autoscaling import IN_HAND
from whisper_serve.batcher import Batcher
from whisper_serve.config.load import Config
from whisper_serve.engines import EngineSettings, Outcome, load_engine, transcribe
from whisper_serve.errors import ModelFailed, Overloaded, PoisonWindow, TimedOut, Unavailable
from whisper_serve.host.hardware import pin_to_cpus
from whisper_serve.journal import Journal
from whisper_serve.loopback import close_replica_port
from whisper_serve.meters import start_meters
from whisper_serve.passes import Asked, Passes
from whisper_serve.telemetry import metrics, tracing
from whisper_serve.telemetry.logs import request_id, set_up_logging
from whisper_serve.telemetry.metrics import record
from whisper_serve.types import SAMPLE_RATE, WINDOW_S, Options, Window, WindowResult
from whisper_serve.weights.download import fetch

SILENCE = Window(np.zeros(SAMPLE_RATE, np.float32), 0.0, Options(language="en"))
READY_TIMEOUT_S = 5.0
LATELY_S = 10.0
PAUSE_S = 1.0  # the longest before a window is sent out again; others were lost with it, all at once


@dataclass(frozen=True, slots=True)
class Answer:
    outcome: Outcome
    replica: str  # the id of who gave it


class Replica:
    """One engine. Ray Serve makes `deployment.num_replicas` of these."""

    def __init__(self, config: Config) -> None:
        close_replica_port()
        if config.deployment.cpu_affinity:
            pin_to_cpus(serve.get_replica_context().rank.local_rank, workers(config))
        self.log = set_up_logging(config.logging)
        tracing.set_up_tracing(config.tracing, "model")
        journal = Journal(Path(tempfile.gettempdir()) / f"whisper_serve-{os.getuid()}" / "passes")
        began = time.perf_counter()
        self.engine = load_engine(config.model.engine, engine_settings(config))
        transcribe(self.engine, [SILENCE])  # so that no caller waits for what a first pass sets up
        passes = Passes(self.engine, journal, config.server.dead_letter_dir)
        self.batched = Batcher(
            passes.prepare,
            passes.run,
            workers=self.engine.workers,
            batch_audio_s=config.deployment.max_batch_audio_s or WINDOW_S,
            batch_items=self.engine.largest_batch,
            wait_s=config.deployment.batch_wait_timeout_s,
        )
        self.in_hand_s = 0.0
        took = time.perf_counter() - began
        self.log.info("model loaded", extra={"model": config.model.size, "seconds": took})
        if config.server.metrics:
            start_meters(self._sample)
        record(metrics.MODEL_LOADS, model=config.model.ids[0])
        record(metrics.MODEL_LOAD_TIME, took, model=config.model.ids[0])

    def _sample(self) -> None:
        record(metrics.MEMORY, self.engine.gpu_memory_gb() * 1e9, device="gpu")

    async def hear(
        self,
        window: Window,
        left_s: float,
        request_id: str,
        trace: dict[str, str],
        avoid: tuple[str, ...] = (),
    ) -> Answer:
        """left_s: seconds in which its caller still wants it. trace: what its span is part of. avoid: see router.py."""
        with tracing.span("hear", SpanKind.SERVER, trace):
            asked = Asked(window, time.monotonic() + left_s, request_id)
            self.in_hand_s += window.seconds
            try:
                outcome = await self.batched(asked, window.seconds)
            finally:
                self.in_hand_s -= window.seconds
            if isinstance(outcome, WindowResult):
                tracing.note(
                    "pass",
                    outcome.batch_inference_s,
                    windows=outcome.batch_windows,
                    audio_s=outcome.batch_audio_s,
                )
        return Answer(outcome, serve.get_replica_context().replica_id.unique_id)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What Serve asks for, to hand it to autoscaling.py."""
        return {IN_HAND: self.in_hand_s}

    async def ready(self) -> bool:
        """A replica that answers has its model."""
        return True


def workers(config: Config) -> int:
    """Threads a replica's share of the CPUs allows."""
    return max(1, int(config.deployment.cpu_per_replica))


def engine_settings(config: Config) -> EngineSettings:
    model = config.model
    return EngineSettings(
        weights=None if model.engine == "fake" else fetch(model.size, model.model_dir),
        device="cuda" if model.device == "cuda" else "cpu",
        cpus=workers(config),
        compute_type=model.compute_type,
        context=model.context,
    )


class Remote:
    """The model deployment as two plain functions, `infer` and `ready`."""

    def __init__(self, model: "DeploymentHandle[Replica]", max_retries: int) -> None:
        self.model = model
        self.max_retries = max_retries
        self.answered_at = -math.inf

    async def infer(self, window: Window) -> WindowResult:
        """Hear one window. It is pure, so where a replica fails on it, another is asked, and where one
        dies, until the time is up: what they die of is told apart by the replicas themselves.
        """
        failed: tuple[str, ...] = ()  # ids of replicas
        deaths = 0
        while True:
            try:
                answer = await self._ask(window, failed)
            except RayActorError as e:
                if deadline.left_s() <= 0:
                    raise TimedOut(
                        "model replicas died, and its time was up before another had heard it"
                    ) from e
                await asyncio.sleep(random.uniform(0, min(PAUSE_S, 0.05 * 2**deaths)))
                deaths += 1
                continue
            outcome = answer.outcome
            if isinstance(outcome, WindowResult):
                return outcome
            failed += (answer.replica,)
            if (
                len(failed) > self.max_retries
                or isinstance(outcome, PoisonWindow)
                or not isinstance(outcome, ModelFailed)
            ):
                raise outcome

    async def _ask(self, window: Window, avoid: tuple[str, ...]) -> Answer:
        """Raises RayActorError where the replica died."""
        try:
            answer: Answer = await self.model.hear.remote(
                window, deadline.left_s(), request_id(), tracing.traceparent(), avoid=avoid
            )
        except BackPressureError as e:
            raise Overloaded("every model replica is busy; try again in a moment") from e
        except DeploymentUnavailableError as e:
            raise Unavailable("no model replica could be started; see the service's log") from e
        except RayActorError:
            raise
        except RayTaskError:
            return Answer(ModelFailed("the model replica failed"), "")
        self.answered_at = time.monotonic()
        return answer

    async def ready(self) -> bool:
        """Whether a replica answered lately, or answers now: under load the question itself would queue."""
        if time.monotonic() - self.answered_at < LATELY_S:
            return True
        try:
            await asyncio.wait_for(self._ping(), READY_TIMEOUT_S)
        except (asyncio.TimeoutError, RayActorError, RayTaskError, RayServeException):
            return False
        self.answered_at = time.monotonic()
        return True

    async def _ping(self) -> None:
        await self.model.ready.remote()
