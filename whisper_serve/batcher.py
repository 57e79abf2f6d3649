"""Items of many callers in, batches of like lengths out to the workers of one replica, in order of need.

Ray's `serve.batch` closes a batch before it knows that anybody is free to hear
it: without a wait every batch holds one item, however many wait behind it. Here
a batch is chosen when a worker comes free, from all that waits then.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

LIKE = 2.0  # lengths share a batch up to this ratio: a shorter item waits, and pays a little, for the longest
SHORT_S = 5.0  # what is shorter counts as this long


@dataclass(eq=False, slots=True)
class Waiting(Generic[Item, Result]):
    """An item in the queue, until its `answer` is known or nobody waits for it."""

    item: Item
    seconds: float
    answer: "asyncio.Future[Result]"
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Item, Result]):
    """A queue and `workers` threads. To be used from one event loop.

    run: hears a batch, in a worker's thread; one result an item, in order. If it raises, the whole batch does.
    batch_s, batch_items: the most a batch holds, in seconds and in items; an item longer than `batch_s` goes alone.
    wait_s: how long a free worker waits for a fuller batch, from the time its first item came.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        workers: int,
        batch_s: float,
        batch_items: int,
        wait_s: float = 0.0,
    ) -> None:
        self._run = run
        self._idle = workers
        self._batch_s, self._batch_items, self._wait_s = batch_s, batch_items, wait_s
        self._queue: list[Waiting[Item, Result]] = []  # by time of arrival
        self._threads = ThreadPoolExecutor(workers, "batch")
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item, seconds: float) -> Result:
        """What `run` makes of it. Cancelled while it waits, it is taken out of the queue."""
        waiting: Waiting[Item, Result] = Waiting(item, seconds, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._start()
        try:
            return await waiting.answer
        finally:
            if waiting in self._queue:
                self._queue.remove(waiting)

    def _start(self) -> None:
        """Give idle workers what waits; come back later where a fuller batch is worth a wait."""
        while self._idle and self._queue:
            batch = choose(self._queue, self._batch_s, self._batch_items)
            due = self._queue[0].since + self._wait_s - time.monotonic()
            if due > 0 and not self._full(batch):
                asyncio.get_running_loop().call_later(due, self._start)
                return
            self._queue = [waiting for waiting in self._queue if waiting not in batch]
            self._idle -= 1
            task = asyncio.create_task(self._hear(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _full(self, batch: Sequence[Waiting[Item, Result]]) -> bool:
        return len(batch) >= self._batch_items or sum(w.seconds for w in batch) >= self._batch_s

    async def _hear(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._threads, self._run, [w.item for w in batch])
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(result)
        except Exception as e:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(e)
        finally:
            self._idle += 1
            self._start()


def choose(
    queue: Sequence[Waiting[Item, Result]], batch_s: float, batch_items: int
) -> list[Waiting[Item, Result]]:
    """The oldest, and of those like it the nearest in length, as far as they fit; by length."""
    oldest = queue[0]
    alike = [w for w in queue[1:] if like(w.seconds, oldest.seconds)]
    batch, total = [oldest], oldest.seconds
    for waiting in sorted(alike, key=lambda w: abs(w.seconds - oldest.seconds)):
        if len(batch) < batch_items and total + waiting.seconds <= batch_s:
            batch.append(waiting)
            total += waiting.seconds
    return sorted(batch, key=lambda w: w.seconds)


def like(one: float, other: float) -> bool:
    shorter, longer = sorted((one, other))
    return longer <= LIKE * max(shorter, SHORT_S)
