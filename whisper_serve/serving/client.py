"""Calls of the model deployment from the ingress: routing, retries, and what to do when a replica dies.

Ray's errors stop here: what is raised is one of our own.
"""

import asyncio
import logging
import math
import random
import time
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from whisper_serve.config.model import Deployment
from whisper_serve.errors import ModelFailed, Overloaded, PoisonWindow, TimedOut, Unavailable
from whisper_serve.serving.crash_journal import QUARANTINE_DEATHS, deaths_after, name_of
from whisper_serve.serving.hedging import Hedging, Placement
from whisper_serve.serving.post_mortem import PostMortem, mark_poison
from whisper_serve.serving.replica import InferReply, Replica
from whisper_serve.telemetry import metrics, tracing
from whisper_serve.telemetry.logs import request_id
from whisper_serve.telemetry.metrics import record
from whisper_serve.transcription import deadline
from whisper_serve.types import Window, WindowResult

READY_TIMEOUT_S = 5.0
READY_FOR_S = 10.0  # after an answer
RETRY_DELAY_S = 0.05  # at most, before a window is sent again; twice as much after each further death
MAX_RETRY_DELAY_S = 1.0  # random, since the windows of a dead replica are all sent again at once
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Attempts:
    """What became of a window so far."""

    failed: tuple[str, ...] = ()  # ids of replicas whose engine failed on it
    died: int = 0  # replicas, with this window in flight
    deaths: int = 0  # those of them that count against it
    hedged: bool = False


class ModelClient:
    """The model deployment as two plain functions, `infer` and `ready`."""

    def __init__(self, model: "DeploymentHandle[Replica]", settings: Deployment) -> None:
        self._model = model
        self._max_retries = settings.max_retries
        self._answered_at = -math.inf
        self._post_mortem = PostMortem()
        self._hedging = Hedging(settings)

    async def infer(self, window: Window) -> WindowResult:
        """Have a window transcribed. Since that changes nothing, it is sent to another replica where one fails
        on it (`max_retries` times), and where one dies (until its time is up, or it is to blame for two deaths).

        Raises what is in errors.py of transcription.
        """
        attempts = Attempts()
        while True:
            try:
                reply = await self._ask_with_hedge(window, attempts)
            except RayActorError as e:
                await self._count_death(window, attempts, e)
                if deadline.left_s() <= 0:
                    raise TimedOut("model replicas died, and its time was up before another was done") from e
                most_s = min(MAX_RETRY_DELAY_S, RETRY_DELAY_S * 2 ** (attempts.died - 1))
                await asyncio.sleep(random.uniform(0, most_s))
                continue
            outcome = reply.outcome
            if isinstance(outcome, WindowResult):
                return outcome
            attempts.failed += (reply.replica,)
            retried = isinstance(outcome, ModelFailed) and not isinstance(outcome, PoisonWindow)
            if not retried or len(attempts.failed) > self._max_retries:
                raise outcome

    async def _ask_with_hedge(self, window: Window, attempts: Attempts) -> InferReply:
        """Ask one replica and, where that takes much longer than expected, another one too. Raises as `_ask` does."""
        placement = Placement()
        with self._hedging.waiting(window.seconds) as waiting:
            first = asyncio.create_task(self._ask(window, attempts.deaths, attempts.failed, placement))
            try:
                while not (await asyncio.wait({first}, timeout=waiting.pause_s()))[0]:
                    if placement.others and not attempts.hedged and waiting.hedge():
                        return await self._race(window, attempts, first, placement.replica)
                return first.result()
            finally:
                if first.done() and not first.cancelled() and not first.exception():
                    waiting.answered()
                first.cancel()

    async def _race(
        self, window: Window, attempts: Attempts, first: "asyncio.Task[InferReply]", slow: str
    ) -> InferReply:
        """Ask a second replica too; the reply that comes first. Raises RayActorError where both died.

        The second one is told of a death: what holds the first may be the window, so that it has to be processed alone.
        """
        attempts.hedged = True
        log.warning(
            "a model replica is slow, and another one is asked", extra=place_of(window) | {"replica": slow}
        )
        second = asyncio.create_task(self._ask(window, max(attempts.deaths, 1), (*attempts.failed, slow)))
        answered, running = "none", {first, second}
        try:
            while True:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda task: task.exception() is not None):
                    error = task.exception()
                    if error is None:
                        answered = "first" if task is first else "second"
                    elif running and isinstance(error, RayActorError):
                        await self._count_death(window, attempts, error)
                    if error is None or not running:
                        return task.result()
        finally:
            second.cancel()
            record(metrics.HEDGES, answered=answered)

    async def _ask(
        self, window: Window, deaths: int, avoid: tuple[str, ...], placement: Placement | None = None
    ) -> InferReply:
        """Raises RayActorError where the replica died."""
        left_s, trace = deadline.left_s(), tracing.traceparent()
        response: Any = self._model.infer.remote(
            window, left_s, request_id(), trace, deaths, avoid=avoid, placement=placement
        )
        try:
            reply: InferReply = await response
        except asyncio.CancelledError:
            response.cancel()  # so that it leaves the replica's queue
            raise
        except BackPressureError as e:
            raise Overloaded("every model replica is busy; try again in a moment") from e
        except DeploymentUnavailableError as e:
            raise Unavailable("no model replica could be started; see the service's log") from e
        except RayActorError:
            raise
        except RayTaskError as e:
            log.warning("a model replica failed outside its engine", exc_info=e, extra=place_of(window))
            failure = ModelFailed("the model replica failed")
            failure.__cause__ = e
            return InferReply(failure, replica="")
        self._answered_at = time.monotonic()
        return reply

    async def _count_death(self, window: Window, attempts: Attempts, error: RayActorError) -> None:
        """Log a death, and count it where it counts against this window, on whichever machine it happened."""
        record(metrics.REPLICA_DEATHS)
        death = await self._post_mortem.examine(error)
        attempts.died += 1
        if death.processed is None:
            attempts.deaths = max(attempts.deaths, 1)  # it may have been the cause, or not
        elif death.processed:
            name = await asyncio.to_thread(name_of, window)
            attempts.deaths = deaths_after(attempts.deaths, name, death.processed)
            if attempts.deaths >= QUARANTINE_DEATHS:
                await mark_poison(name)
        log.warning(
            "a model replica died with a window in flight",
            extra={
                **place_of(window),
                "replica": death.replica,
                "deaths": attempts.deaths,
                "cause": str(error),
            },
        )

    async def ready(self) -> bool:
        """Whether a replica answered a moment ago, or answers now: under load the question itself would queue."""
        if time.monotonic() - self._answered_at < READY_FOR_S:
            return True
        try:
            await asyncio.wait_for(self._ping(), READY_TIMEOUT_S)
        except (asyncio.TimeoutError, RayActorError, RayTaskError, RayServeException):
            return False
        self._answered_at = time.monotonic()
        return True

    async def _ping(self) -> None:
        await self._model.ready.remote()


def place_of(window: Window) -> dict[str, object]:
    """For log lines."""
    return {"start_s": window.start, "seconds": window.seconds}
