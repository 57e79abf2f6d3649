"""The request router of the model deployment: a window goes to the replica with the least outstanding audio.

Ray Serve's own router counts requests, of which one may be thirty times as long as another, and in a burst its counts
lag behind: of a recording's first windows one of two replicas got eight while the other got three.
"""

import random
import weakref
from collections import defaultdict
from dataclasses import dataclass
from math import inf
from typing import Any

from ray.serve._private.replica_result import ReplicaResult
from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A window that is assigned to a replica, and that the replica has not answered."""

    replica: ReplicaID
    seconds: float
    unsent: "weakref.ref[PendingRequest] | None"  # None: the replica has accepted it

    @property
    def abandoned(self) -> bool:
        """Its caller left before it was sent, so Serve will report no end of it."""
        return self.unsent is not None and self.unsent() is None


class LeastAudioRouter(FIFOMixin, RequestRouter):
    """For a deployment whose methods take a window as their first argument, or none. The keyword argument `avoid`
    holds ids of replicas that get the request only where no others can take it; into `placement` it writes which one
    gets it. It knows what its own process sent; of two replicas with equally much of that Serve takes the one with the
    shorter queue, as with its power of two choices.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._outstanding: dict[str, Outstanding] = {}  # by Serve's id of the request

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks of replicas, best first. The choice counts at once: all of a burst is assigned before any of it is sent."""
        if pending_request is None or not candidate_replicas:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True  # else Serve asks again without a pause
        id = pending_request.metadata.internal_request_id
        self._outstanding.pop(id, None)
        avoid = pending_request.kwargs.get("avoid", ())
        ranks = self._ranks(candidate_replicas, avoid)
        best = min(ranks[0], key=self._queue)
        if placement := pending_request.kwargs.get("placement"):
            placement.others = bool({*names(candidate_replicas)} - {*avoid, best.replica_id.unique_id})
            placement.replica = best.replica_id.unique_id
        self._outstanding[id] = Outstanding(
            best.replica_id, seconds(pending_request), weakref.ref(pending_request)
        )
        return ranks

    def _ranks(self, replicas: list[RunningReplica], avoid: tuple[str, ...]) -> list[list[RunningReplica]]:
        """At most two of those with the least outstanding audio; the others; those to avoid. No rank is empty."""
        audio_s = self._audio_s()
        avoided = [one for one in replicas if one.replica_id.unique_id in avoid]
        wanted = [one for one in replicas if one not in avoided]
        if not wanted:
            wanted, avoided = avoided, []
        least = min(audio_s[one.replica_id] for one in wanted)
        equals = [one for one in wanted if audio_s[one.replica_id] == least]
        best = random.sample(equals, min(2, len(equals)))
        others = [one for one in wanted if one not in best]
        return [rank for rank in (best, others, avoided) if rank]

    def _audio_s(self) -> dict[ReplicaID, float]:
        self._outstanding = {id: one for id, one in self._outstanding.items() if not one.abandoned}
        audio_s: dict[ReplicaID, float] = defaultdict(float)
        for one in self._outstanding.values():
            audio_s[one.replica] += one.seconds
        return audio_s

    def _queue(self, replica: RunningReplica) -> float:
        """The length of its queue as Serve knows it; infinite where it does not."""
        length = self.replica_queue_len_cache.get(replica.replica_id)
        return inf if length is None else length

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: ReplicaResult
    ) -> None:
        id = pending_request.metadata.internal_request_id
        if placement := pending_request.kwargs.get("placement"):
            placement.replica = replica_id.unique_id
        if id in self._outstanding:  # else it is answered already
            self._outstanding[id] = Outstanding(replica_id, seconds(pending_request), None)

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        self._outstanding.pop(internal_request_id, None)


def names(replicas: list[RunningReplica]) -> list[str]:
    return [one.replica_id.unique_id for one in replicas]


def seconds(request: PendingRequest) -> float:
    return float(getattr(request.args[0], "seconds", 0.0)) if request.args else 0.0
