"""The request router by itself, with Ray Serve's own classes; Ray is not started."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID, RequestMetadata
from ray.serve.request_router import PendingRequest

from whisper_serve.serving.router import LeastAudioRouter
from whisper_serve.types import SAMPLE_RATE, Options, Window

MODEL = DeploymentID("Model", "default")


def router() -> LeastAudioRouter:
    return LeastAudioRouter(MODEL, DeploymentHandleSource.REPLICA, use_replica_queue_len_cache=True)


def replicas(*names: str) -> list[Any]:
    return [SimpleNamespace(replica_id=ReplicaID(name, MODEL)) for name in names]


def request(seconds: float, **kwargs: Any) -> PendingRequest:
    window = Window(np.zeros(int(seconds * SAMPLE_RATE), np.float32), 0.0, Options())
    id = uuid4().hex
    metadata = RequestMetadata(request_id=id, internal_request_id=id)
    return PendingRequest(args=[window], kwargs=kwargs, metadata=metadata)


def names(replicas: list[Any]) -> list[str]:
    return [replica.replica_id.unique_id for replica in replicas]


async def best(router: LeastAudioRouter, candidates: list[Any], one: PendingRequest) -> str:
    """As Serve goes on: of the first rank, the one with the shortest queue."""
    ranks = await router.choose_replicas(candidates, one)
    assert sorted(names([replica for rank in ranks for replica in rank])) == sorted(names(candidates))
    assert all(ranks)
    assert len(ranks[0]) <= 2
    assert one.routing_context.should_backoff
    first = min(ranks[0], key=lambda replica: router.replica_queue_len_cache.get(replica.replica_id) or 0)
    return names([first])[0]


def test_a_burst_is_shared_out_by_seconds_of_audio() -> None:
    async def scenario() -> None:
        ours, both = router(), replicas("a", "b")
        burst = [request(s) for s in (30, 10, 10, 10, 20, 20)]
        audio: Counter[str] = Counter()
        for one in burst:
            audio[await best(ours, both, one)] += int(one.args[0].seconds)
        assert sorted(audio.values()) == [50, 50]

    asyncio.run(scenario())


def test_an_answered_window_no_longer_counts() -> None:
    async def scenario() -> None:
        ours, (a, b) = router(), replicas("a", "b")
        long = request(30)
        await ours.choose_replicas([a], long)
        ours.on_request_routed(long, a.replica_id, None)  # type: ignore[arg-type]
        short = request(1)
        assert await best(ours, [a, b], short) == "b"
        ours.on_request_completed(a.replica_id, long.metadata.internal_request_id)
        ours.on_request_routed(long, a.replica_id, None)  # type: ignore[arg-type]  # reported late
        assert await best(ours, [a, b], request(1)) == "a"

    asyncio.run(scenario())


def test_a_window_whose_caller_left_before_it_was_sent_no_longer_counts() -> None:
    async def scenario() -> None:
        ours, (a, b) = router(), replicas("a", "b")
        gone = request(30)
        await ours.choose_replicas([a], gone)
        kept = request(1)
        assert await best(ours, [a, b], kept) == "b"
        del gone
        assert await best(ours, [a, b], request(1)) == "a"

    asyncio.run(scenario())


def test_of_two_replicas_with_equal_audio_the_one_with_the_shorter_queue_is_taken() -> None:
    async def scenario() -> None:
        ours, (a, b) = router(), replicas("a", "b")
        ours.on_new_queue_len_info(a.replica_id, 3)
        ours.on_new_queue_len_info(b.replica_id, 1)
        assert await best(ours, [a, b], request(1)) == "b"

    asyncio.run(scenario())


def test_a_replica_to_avoid_comes_last() -> None:
    async def scenario() -> None:
        ours, many = router(), replicas("a", "b", "c", "d")
        ranks = await ours.choose_replicas(many, request(1, avoid=("a", "c")))
        assert [sorted(names(rank)) for rank in ranks] == [["b", "d"], ["a", "c"]]
        assert await best(ours, many[:1], request(1, avoid=("a",))) == "a"

    asyncio.run(scenario())


def test_requests_without_a_window_count_as_nothing() -> None:
    async def scenario() -> None:
        ours, (a, b) = router(), replicas("a", "b")
        metadata = RequestMetadata(request_id="1", internal_request_id="1")
        health, text = (PendingRequest(args=args, kwargs={}, metadata=metadata) for args in ([], ["x"]))
        for one in (health, text):
            await ours.choose_replicas([a], one)
            (ranks,) = [await ours.choose_replicas([a, b], request(0))]
            assert sorted(names(ranks[0])) == ["a", "b"]

    asyncio.run(scenario())


def test_a_window_may_be_followed_by_other_arguments() -> None:
    async def scenario() -> None:
        ours, (a, b) = router(), replicas("a", "b")
        one = request(30)
        one.args.append("more")
        await ours.choose_replicas([a], one)
        assert await best(ours, [a, b], request(1)) == "b"

    asyncio.run(scenario())


def test_at_most_two_of_equals_are_proposed_first_and_then_the_others() -> None:
    async def scenario() -> None:
        many = replicas("a", "b", "c", "d")
        ranks = await router().choose_replicas(many, request(1))
        assert [len(rank) for rank in ranks] == [2, 2]

    asyncio.run(scenario())


def test_without_a_request_or_without_replicas_there_is_nothing_to_choose() -> None:
    async def scenario() -> None:
        ours, some = router(), replicas("a", "b")
        assert await ours.choose_replicas(some, None) == [some]
        assert await ours.choose_replicas([], request(1)) == [[]]

    asyncio.run(scenario())
