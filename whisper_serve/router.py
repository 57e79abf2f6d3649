"""Requests for a model replica in, the replicas that may take it out: as Ray Serve chooses them, but for those to avoid.

A method of the deployment takes `avoid`, a tuple of replica ids, as a keyword
argument. Where only those are left one of them is asked again.
"""

from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter
from ray.serve.request_router import PendingRequest, RunningReplica


class AvoidingRouter(PowerOfTwoChoicesRequestRouter):
    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        avoid = pending_request.kwargs.get("avoid", ()) if pending_request else ()
        others = [r for r in candidate_replicas if r.replica_id.unique_id not in avoid]
        if avoid and others:
            return [others]
        chosen: list[list[RunningReplica]] = await super().choose_replicas(
            candidate_replicas, pending_request
        )
        return chosen
