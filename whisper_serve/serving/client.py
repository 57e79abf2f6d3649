"""Calls of the model deployment from the ingress: routing, retries, and what to do when a replica dies.

Ray's errors stop here: what is raised is one of our own.
"""

import asyncio
import logging
import math
import random
import time

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from whisper_serve.errors import ModelFailed, Overloaded, PoisonWindow, TimedOut, Unavailable
from whisper_serve.serving.crash_journal import QUARANTINE_DEATHS, deaths_after, name_of
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


class ModelClient:
    """The model deployment as two plain functions, `infer` and `ready`."""

    def __init__(self, model: "DeploymentHandle[Replica]", max_retries: int) -> None:
        self._model = model
        self._max_retries = max_retries
        self._answered_at = -math.inf
        self._post_mortem = PostMortem()

    async def infer(self, window: Window) -> WindowResult:
        """Have a window transcribed. Since that changes nothing, it is sent to another replica where one fails
        on it (`max_retries` times), and where one dies (until its time is up, or it is to blame for two deaths).

        Raises what is in errors.py of transcription.
        """
        failed: tuple[str, ...] = ()  # ids of replicas
        died, deaths = 0, 0  # replicas with this window in flight; those that count against it
        while True:
            try:
                reply = await self._ask(window, deaths, failed)
            except RayActorError as e:
                deaths = await self._count_death(window, deaths, e)
                if deadline.left_s() <= 0:
                    raise TimedOut("model replicas died, and its time was up before another was done") from e
                await asyncio.sleep(random.uniform(0, min(MAX_RETRY_DELAY_S, RETRY_DELAY_S * 2**died)))
                died += 1
                continue
            outcome = reply.outcome
            if isinstance(outcome, WindowResult):
                return outcome
            failed += (reply.replica,)
            retried = isinstance(outcome, ModelFailed) and not isinstance(outcome, PoisonWindow)
            if not retried or len(failed) > self._max_retries:
                raise outcome

    async def _ask(self, window: Window, deaths: int, avoid: tuple[str, ...]) -> InferReply:
        """Raises RayActorError where the replica died."""
        left_s, trace = deadline.left_s(), tracing.traceparent()
        try:
            reply: InferReply = await self._model.infer.remote(
                window, left_s, request_id(), trace, deaths, avoid=avoid
            )
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

    async def _count_death(self, window: Window, deaths: int, error: RayActorError) -> int:
        """Log a death, and return how many now count against this window, on whichever machines they happened."""
        record(metrics.REPLICA_DEATHS)
        death = await self._post_mortem.examine(error)
        if death.processed is None:
            deaths = max(deaths, 1)  # it may have been the cause, or not
        elif death.processed:
            name = await asyncio.to_thread(name_of, window)
            deaths = deaths_after(deaths, name, death.processed)
            if deaths >= QUARANTINE_DEATHS:
                await mark_poison(name)
        log.warning(
            "a model replica died with a window in flight",
            extra={**place_of(window), "replica": death.replica, "deaths": deaths, "cause": str(error)},
        )
        return deaths

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
