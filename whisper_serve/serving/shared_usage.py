"""What callers have used of their limits, counted for all ingress replicas in one actor, which Ray Serve starts and replaces.

Where it does not answer, an ingress does not wait for it: it counts by itself, and grants its part of the limits.
"""

import asyncio
import logging
import time
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import DeploymentActorConfig
from ray.serve.exceptions import RayServeException

from whisper_serve.transcription.usage import OwnUsage, Usage

ACTOR = "usage"
ANSWER_S = 1.0  # the longest wait for an answer of the actor
AWAY_S = 5.0  # after one that did not come, the actor is not asked
log = logging.getLogger(__name__)


def usage_actor() -> DeploymentActorConfig:
    """For the ingress deployment."""
    return DeploymentActorConfig(name=ACTOR, actor_class=ray.remote(Usage), actor_options={"num_cpus": 0})


class SharedUsage:
    """Asks the actor; to be made in an ingress. share: the part of every limit that it grants where that does not answer."""

    def __init__(self, share: float) -> None:
        self._own = OwnUsage(share=share)
        self._actor: Any = serve.get_deployment_actor(ACTOR)  # Serve starts it before the ingress
        self._asked_from = 0.0  # moment of time.monotonic()

    async def take_request(self, caller: str, per_minute: float) -> float:
        wait_s = await self._ask("take_request", caller, per_minute)
        return await self._own.take_request(caller, per_minute) if wait_s is None else wait_s

    async def take_audio(self, caller: str, seconds: float, per_day: float) -> float:
        left = await self._ask("take_audio", caller, seconds, per_day)
        return await self._own.take_audio(caller, seconds, per_day) if left is None else left

    async def _ask(self, method: str, *args: object) -> float | None:
        """None where it does not answer."""
        if time.monotonic() < self._asked_from:
            return None
        try:
            return await asyncio.wait_for(self._call(method, *args), ANSWER_S)
        except (asyncio.TimeoutError, RayError, RayServeException, ValueError) as e:
            log.warning("limits of keys are counted by each ingress for itself: %r", e)
            self._actor, self._asked_from = None, time.monotonic() + AWAY_S
            return None

    async def _call(self, method: str, *args: object) -> float:
        """Raises RayError; ValueError where there is no actor now."""
        if self._actor is None:  # in a thread, since it asks the cluster's head
            self._actor = await asyncio.to_thread(serve.get_deployment_actor, ACTOR)
        answer: float = await getattr(self._actor, method).remote(*args)
        return answer
