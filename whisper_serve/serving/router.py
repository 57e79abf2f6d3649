"""A window to be heard in, the model replicas that may hear it out, best first: who has least of our audio in hand.

Serve's own choice counts requests, of which one may be thirty times another, and in a burst its counts lag
behind: of a recording's first windows one of two replicas heard eight while the other heard three.
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
class InHand:
    """A window that a replica is to hear, and has not answered."""

    replica: ReplicaID
    seconds: float
    unsent: "weakref.ref[PendingRequest] | None"  # None: the replica took it

    @property
    def given_up(self) -> bool:
        """Its caller left before it was sent, so that no end of it will be told."""
        return self.unsent is not None and self.unsent() is None


class LeastAudioRouter(FIFOMixin, RequestRouter):
    """Of a deployment whose methods take a window first, or nothing; `avoid`, a keyword, names replicas by id
    that are asked only where no others can take it. It knows what its own process sent; of two that have
    equally much of that Serve takes the one with the shorter queue, as with its power of two choices.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._in_hand: dict[str, InHand] = {}  # by Serve's id of the request

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """What is chosen counts from then on: a burst is chosen for before the first of it is sent."""
        if pending_request is None or not candidate_replicas:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True  # else Serve asks again without a pause
        id = pending_request.metadata.internal_request_id
        self._in_hand.pop(id, None)
        ranks = self._ranks(candidate_replicas, pending_request.kwargs.get("avoid", ()))
        best = min(ranks[0], key=self._queue)
        self._in_hand[id] = InHand(best.replica_id, seconds(pending_request), weakref.ref(pending_request))
        return ranks

    def _ranks(self, replicas: list[RunningReplica], avoid: tuple[str, ...]) -> list[list[RunningReplica]]:
        """Two at most of those with the least in hand, the others, those to avoid; none of them empty."""
        held = self._held()
        avoided = [one for one in replicas if one.replica_id.unique_id in avoid]
        wanted = [one for one in replicas if one not in avoided]
        if not wanted:
            wanted, avoided = avoided, []
        least = min(held[one.replica_id] for one in wanted)
        equals = [one for one in wanted if held[one.replica_id] == least]
        best = random.sample(equals, min(2, len(equals)))
        others = [one for one in wanted if one not in best]
        return [rank for rank in (best, others, avoided) if rank]

    def _held(self) -> dict[ReplicaID, float]:
        self._in_hand = {id: one for id, one in self._in_hand.items() if not one.given_up}
        held: dict[ReplicaID, float] = defaultdict(float)
        for one in self._in_hand.values():
            held[one.replica] += one.seconds
        return held

    def _queue(self, replica: RunningReplica) -> float:
        """As Serve ranks it: a length that is not known comes last."""
        length = self.replica_queue_len_cache.get(replica.replica_id)
        return inf if length is None else length

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: ReplicaResult
    ) -> None:
        id = pending_request.metadata.internal_request_id
        if id in self._in_hand:  # else it is answered already
            self._in_hand[id] = InHand(replica_id, seconds(pending_request), None)

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        self._in_hand.pop(internal_request_id, None)


def seconds(request: PendingRequest) -> float:
    return float(getattr(request.args[0], "seconds", 0.0)) if request.args else 0.0
