"""The model deployment as the ingress sees it: two plain functions, `infer` and `ready`.

Ray's errors stop here: what is raised is one of our own.
"""

import asyncio
import math
import random
import time

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from whisper_serve.errors import ModelFailed, Overloaded, PoisonWindow, TimedOut, Unavailable
from whisper_serve.serving.replica import Answer, Replica
from whisper_serve.telemetry import tracing
from whisper_serve.telemetry.logs import request_id
from whisper_serve.transcription import deadline
from whisper_serve.types import Window, WindowResult

READY_TIMEOUT_S = 5.0
LATELY_S = 10.0
PAUSE_S = 1.0  # the longest before a window is sent out again; others were lost with it, all at once


class ModelClient:
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
