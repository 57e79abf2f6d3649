"""What shares a batch, and who waits for whom."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Hashable, Sequence

import pytest

from whisper_serve.serving.batcher import Batcher, Waiting, choose


class Recorder:
    """Notes each batch; holds the workers until they are let go."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def prepare(self, seconds: float) -> float:
        return seconds

    def __call__(self, batch: list[float]) -> list[str]:
        self.batches.append(batch)
        self.begun.release()
        assert self.go.acquire(timeout=5)
        if 13.0 in batch:
            raise RuntimeError("unlucky")
        return [f"{seconds:g} s" for seconds in batch]


class Slow(Recorder):
    """Prepares an item when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.preparing = threading.Semaphore(0)
        self.prepared = threading.Semaphore(0)

    def prepare(self, seconds: float) -> float:
        self.preparing.release()
        assert self.prepared.acquire(timeout=5)
        return seconds


def served(
    recorder: Recorder, story: Callable[[Batcher[float, float, str]], Awaitable[None]], **bounds: float
) -> list[list[float]]:
    settings = {"workers": 1, "batch_audio_s": 60.0, "batch_items": 4, **bounds}

    async def tell() -> None:
        await story(Batcher(recorder.prepare, recorder, **settings))  # type: ignore[arg-type]

    asyncio.run(tell())
    return recorder.batches


def ask(
    batcher: Batcher[float, float, str], *lengths: float, key: Hashable = None
) -> list["asyncio.Task[str]"]:
    return [asyncio.create_task(batcher(seconds, seconds, key)) for seconds in lengths]


async def begun(recorder: Recorder) -> None:
    await asyncio.to_thread(recorder.begun.acquire, timeout=5)


def test_an_idle_worker_begins_at_once_and_what_comes_meanwhile_shares_the_next_batch() -> None:
    recorder = Recorder()

    async def story(batcher: Batcher[float, float, str]) -> None:
        asked = ask(batcher, 7)
        await begun(recorder)
        asked += ask(batcher, 9, 8, 10)
        await asyncio.sleep(0)
        recorder.go.release(2)
        assert await asyncio.gather(*asked) == ["7 s", "9 s", "8 s", "10 s"]

    assert served(recorder, story) == [[7], [9, 8, 10]]


def test_what_comes_while_a_batch_is_prepared_joins_it() -> None:
    recorder = Slow()

    async def story(batcher: Batcher[float, float, str]) -> None:
        asked = ask(batcher, 7)
        await asyncio.to_thread(recorder.preparing.acquire, timeout=5)
        asked += ask(batcher, 9, 8, 30, 10, 11)
        await asyncio.sleep(0)
        recorder.prepared.release(6)
        recorder.go.release(3)
        await asyncio.gather(*asked)

    assert served(recorder, story) == [[7, 8, 9, 10], [30], [11]]  # four at most, and what is like the first


def test_what_is_cancelled_while_it_is_prepared_is_not_run() -> None:
    recorder = Slow()

    async def story(batcher: Batcher[float, float, str]) -> None:
        gone, stays, also_gone = ask(batcher, 7, 8, 9)
        await asyncio.to_thread(recorder.preparing.acquire, timeout=5)
        gone.cancel()
        also_gone.cancel()
        await asyncio.wait([gone, also_gone])
        recorder.prepared.release(2)
        recorder.go.release()
        assert await stays == "8 s"

    assert served(recorder, story) == [[8]]


def test_what_cannot_be_prepared_fails_its_batch_and_the_next_goes_on() -> None:
    class Unprepared(Recorder):
        def prepare(self, seconds: float) -> float:
            if seconds == 13:
                raise RuntimeError("unlucky")
            return seconds

    recorder = Unprepared()

    async def story(batcher: Batcher[float, float, str]) -> None:
        recorder.go.release(2)
        with pytest.raises(RuntimeError, match="unlucky"):
            await batcher(13, 13, None)
        assert await batcher(8, 8, None) == "8 s"

    assert served(recorder, story) == [[8]]


def test_each_worker_takes_a_batch_of_its_own() -> None:
    recorder = Recorder()

    async def story(batcher: Batcher[float, float, str]) -> None:
        asked = ask(batcher, 7, 9)
        await begun(recorder)
        await begun(recorder)
        recorder.go.release(2)
        await asyncio.gather(*asked)

    assert served(recorder, story, workers=2) == [[7], [9]]


def test_what_nobody_waits_for_any_more_is_not_run() -> None:
    recorder = Recorder()

    async def story(batcher: Batcher[float, float, str]) -> None:
        (first,) = ask(batcher, 7)
        await begun(recorder)
        gone, last = ask(batcher, 8, 9)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        recorder.go.release(2)
        await asyncio.gather(first, last)

    assert served(recorder, story) == [[7], [9]]


def test_a_batch_that_breaks_fails_its_own_and_the_next_goes_on() -> None:
    recorder = Recorder()

    async def story(batcher: Batcher[float, float, str]) -> None:
        asked = ask(batcher, 13)
        await begun(recorder)
        asked += ask(batcher, 8)
        recorder.go.release(2)
        with pytest.raises(RuntimeError, match="unlucky"):
            await asked[0]
        assert await asked[1] == "8 s"

    served(recorder, story)


@pytest.mark.parametrize("lengths", [[7, 7, 7, 7], [30, 30]], ids=["of items", "of seconds"])
def test_a_worker_told_to_wait_begins_when_the_batch_is_full(lengths: list[float]) -> None:
    recorder = Recorder()

    async def story(batcher: Batcher[float, float, str]) -> None:
        asked = ask(batcher, *lengths)
        recorder.go.release(len(lengths))
        await asyncio.gather(*asked)

    assert served(recorder, story, workers=2, wait_s=60.0) == [lengths]


def test_a_worker_told_to_wait_begins_in_the_end_with_what_there_is() -> None:
    recorder = Recorder()

    async def story(batcher: Batcher[float, float, str]) -> None:
        asked = ask(batcher, 7, 7)
        recorder.go.release(2)
        await asyncio.gather(*asked)

    assert served(recorder, story, workers=2, wait_s=0.02) == [[7, 7]]


@pytest.mark.parametrize(
    ("lengths", "chosen"),
    [
        ([9], [9]),
        ([12, 30, 13, 2, 8, 20], [12, 13, 8]),  # the oldest, and those like it and like each other
        ([30, 9, 9, 9], [30]),  # however many others there are
        ([9, 14, 12, 10, 11, 9.5], [9, 9.5, 10, 11]),  # the nearest four
        ([1, 3, 0.2], [1, 0.2, 3]),  # all that is short is alike
        ([30, 30, 30], [30, 30]),  # no more seconds than fit
        ([90, 90], [90]),  # too long for a batch: alone, but run
    ],
)
def test_a_batch_is_the_oldest_and_those_like_it(lengths: Sequence[float], chosen: Sequence[float]) -> None:
    loop = asyncio.new_event_loop()
    queue = [Waiting(seconds, seconds, None, loop.create_future()) for seconds in lengths]
    loop.close()
    assert [w.item for w in choose(queue, batch_audio_s=60.0, batch_items=4)] == chosen


def test_items_of_other_keys_wait_for_a_batch_of_their_own() -> None:
    recorder = Recorder()

    async def story(batcher: Batcher[float, float, str]) -> None:
        asked = ask(batcher, 7)
        await begun(recorder)
        asked += ask(batcher, 8, key="detect") + ask(batcher, 8.5) + ask(batcher, 9, key="detect")
        await asyncio.sleep(0)
        recorder.go.release(3)
        assert await asyncio.gather(*asked) == ["7 s", "8 s", "8.5 s", "9 s"]

    assert served(recorder, story) == [[7], [8, 9], [8.5]]


def test_only_items_of_its_key_join_a_batch_that_is_being_prepared() -> None:
    recorder = Slow()

    async def story(batcher: Batcher[float, float, str]) -> None:
        asked = ask(batcher, 7)
        await asyncio.to_thread(recorder.preparing.acquire, timeout=5)
        asked += ask(batcher, 8, key="detect") + ask(batcher, 9)
        await asyncio.sleep(0)
        recorder.prepared.release(3)
        recorder.go.release(2)
        await asyncio.gather(*asked)

    assert served(recorder, story) == [[7, 9], [8]]


def test_at_debug_level_it_says_which_lengths_share_a_batch_and_what_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(batcher: Batcher[float, float, str]) -> None:
        recorder.go.release(5)
        await asyncio.gather(*(batcher(seconds, seconds, None) for seconds in (10.0, 10.0, 10.0, 10.0, 10.0)))

    recorder = Recorder()
    with caplog.at_level(logging.DEBUG, "whisper_serve.serving.batcher"):
        served(recorder, story)
    said = [vars(line) for line in caplog.records if line.name == "whisper_serve.serving.batcher"]
    assert [(line["seconds"], line["left"]) for line in said][-1] == (recorder.batches[-1], 0)
