"""The crash journals of a cluster's machines, read and written by short Ray tasks on those machines.

Used only when a model replica died, so its cost (1 ms on the ingress's own machine, about 0.5 s on another) is paid then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray._private.state import actors
from ray.exceptions import ActorDiedError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from whisper_serve.errors import StartError
from whisper_serve.serving import crash_journal

DIED_TIMEOUT_S = 10.0  # a worker process may have to be started on that machine
UNREACHABLE_TIMEOUT_S = 2.0  # the machine itself may be lost
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Death:
    replica: str  # its id in Ray Serve; empty where that is not known
    processed: tuple[str, ...] | None  # the journal's names of the windows it was working on; None: not known


class PostMortem:
    """Asks once for each dead replica, however many windows were in flight on it."""

    def __init__(self) -> None:
        self._asked: dict[str | None, asyncio.Task[Death]] = {}  # by actor

    async def examine(self, error: RayActorError) -> Death:
        actor = error.actor_id
        if actor not in self._asked:
            self._asked[actor] = task = asyncio.create_task(examined(error))
            task.add_done_callback(lambda _: self._asked.pop(actor))
        return await asyncio.shield(self._asked[actor])


async def examined(error: RayActorError) -> Death:
    timeout_s = DIED_TIMEOUT_S if isinstance(error, ActorDiedError) else UNREACHABLE_TIMEOUT_S
    replica = ""
    try:
        actor = await asyncio.to_thread(actors, error.actor_id)
        replica = actor["Name"].rpartition("#")[2]
        reading = on_machine(actor["Address"]["NodeID"], crash_journal.left_by, actor["ActorID"])
        return Death(replica, await asyncio.wait_for(reading, timeout_s))
    except (RayError, StartError, KeyError, asyncio.TimeoutError) as e:
        log.warning("the crash journal of a dead replica cannot be read: %r", e, extra={"replica": replica})
        return Death(replica, None)


async def mark_poison(name: str) -> None:
    """Have every machine refuse this window, also in other requests."""
    nodes = [node["NodeID"] for node in await asyncio.to_thread(ray.nodes) if node["Alive"]]
    marks = asyncio.gather(
        *(on_machine(node, crash_journal.mark_poison, name) for node in nodes), return_exceptions=True
    )
    try:
        errors = [result for result in await asyncio.wait_for(marks, DIED_TIMEOUT_S) if result is not None]
    except asyncio.TimeoutError as e:
        errors = [e]
    for error in errors:
        log.warning("a machine cannot be reached to have a window refused there: %r", error)


def on_machine(node: str, function: Callable[..., Any], *args: str) -> Awaitable[Any]:
    """Call a function with that machine's crash journal, in a process there."""
    if node == ray.get_runtime_context().get_node_id():
        return asyncio.to_thread(with_journal, function, *args)
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    call: Awaitable[Any] = called.options(scheduling_strategy=there).remote(function, *args)
    return call


@ray.remote(num_cpus=0, max_retries=0)
def called(function: Callable[..., Any], *args: str) -> Any:
    return with_journal(function, *args)


def with_journal(function: Callable[..., Any], *args: str) -> Any:
    return function(crash_journal.journal_folder(), *args)
