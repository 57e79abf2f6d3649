"""Dynamic batching for the workers of one replica: a queue of many callers' items, from which batches are chosen.

A batch holds items of one key and of like lengths. Ray's `serve.batch` closes a
batch before it knows that a worker is free to run it: without a wait every
batch holds one item, however many wait behind it. Here a batch is chosen when
a worker comes free, from all that waits then, and what comes while its items
are prepared one by one still joins it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from whisper_serve.engines.batches import alike

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Result = TypeVar("Result")


@dataclass(eq=False, slots=True)
class Waiting(Generic[Item, Result]):
    """An item in the queue, until its `result` is known or nobody waits for it."""

    item: Item
    seconds: float
    key: Hashable
    result: "asyncio.Future[Result]"
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Item, Prepared, Result]):
    """A queue and `workers` threads. To be used from one event loop.

    prepare: does for an item what needs no others, in a worker's thread. If it raises, its batch does.
    run: processes a batch, in the same thread; one result an item, in order. If it raises, the whole batch does.
    batch_audio_s, batch_items: the most a batch holds, in seconds and in items; an item longer than `batch_audio_s` goes alone.
    wait_s: how long a free worker waits for a fuller batch, from the time its first item came.
    """

    def __init__(
        self,
        prepare: Callable[[Item], Prepared],
        run: Callable[[list[Prepared]], Sequence[Result]],
        workers: int,
        batch_audio_s: float,
        batch_items: int,
        wait_s: float = 0.0,
    ) -> None:
        self._prepare, self._run = prepare, run
        self._idle = workers
        self._batch_audio_s, self._batch_items, self._wait_s = batch_audio_s, batch_items, wait_s
        self._queue: list[Waiting[Item, Result]] = []  # by time of arrival
        self._threads = ThreadPoolExecutor(workers, "batch")
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item, seconds: float, key: Hashable) -> Result:
        """What `run` makes of it, together with items of the same `key`. Cancelled, it leaves the queue."""
        waiting: Waiting[Item, Result] = Waiting(
            item, seconds, key, asyncio.get_running_loop().create_future()
        )
        self._queue.append(waiting)
        self._start()
        try:
            return await waiting.result
        finally:
            if waiting in self._queue:
                self._queue.remove(waiting)

    def _start(self) -> None:
        """Give idle workers what waits; come back later where a fuller batch is worth a wait."""
        while self._idle and self._queue:
            batch = choose(self._queue, self._batch_audio_s, self._batch_items)
            due = self._queue[0].since + self._wait_s - time.monotonic()
            if due > 0 and not self._full(batch):
                asyncio.get_running_loop().call_later(due, self._start)
                return
            self._take(batch)
            self._idle -= 1
            self._log(batch)
            task = asyncio.create_task(self._process(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _take(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        self._queue = [waiting for waiting in self._queue if waiting not in batch]

    def _log(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        if log.isEnabledFor(logging.DEBUG):
            lengths = [round(waiting.seconds, 1) for waiting in batch]
            waited = round(time.monotonic() - batch[0].since, 3)
            fields = {"seconds": lengths, "waited_s": waited, "left": len(self._queue)}
            log.debug("batch chosen", extra=fields)

    def _full(self, batch: Sequence[Waiting[Item, Result]]) -> bool:
        return len(batch) >= self._batch_items or sum(w.seconds for w in batch) >= self._batch_audio_s

    async def _process(self, batch: list[Waiting[Item, Result]]) -> None:
        """Prepare a batch, and what joins it meanwhile; run it. Who has a result already waits for it no more."""
        loop = asyncio.get_running_loop()
        try:
            prepared = await self._prepare_all(batch)
            wanted = {waiting: ready for waiting, ready in prepared.items() if not waiting.result.done()}
            if wanted:
                results = await loop.run_in_executor(self._threads, self._run, [*wanted.values()])
                for waiting, result in zip(wanted, results, strict=True):
                    if not waiting.result.done():
                        waiting.result.set_result(result)
        except Exception as e:
            for waiting in batch:
                if not waiting.result.done():
                    waiting.result.set_exception(e)
        finally:
            self._idle += 1
            self._start()

    async def _prepare_all(self, batch: list[Waiting[Item, Result]]) -> dict[Waiting[Item, Result], Prepared]:
        """`batch` grows by what joins it once all of it is prepared."""
        loop = asyncio.get_running_loop()
        prepared: dict[Waiting[Item, Result], Prepared] = {}
        for waiting in batch:
            if not waiting.result.done():
                prepared[waiting] = await loop.run_in_executor(self._threads, self._prepare, waiting.item)
            if waiting is batch[-1]:
                joining = choose(self._queue, self._batch_audio_s, self._batch_items, batch)
                self._take(joining)
                batch += joining
        return prepared


def choose(
    queue: Sequence[Waiting[Item, Result]],
    batch_audio_s: float,
    batch_items: int,
    begun: Sequence[Waiting[Item, Result]] = (),
) -> list[Waiting[Item, Result]]:
    """The oldest, and of those of its key the nearest to it in length, as far as they fit.

    begun: a batch that these are to join; its first is the oldest.
    """
    chosen = list(begun or queue[:1])
    if not chosen:
        return []
    oldest, total = chosen[0], sum(w.seconds for w in chosen)
    shortest, longest = (of(w.seconds for w in chosen) for of in (min, max))
    joining = [w for w in queue if w not in chosen and w.key == oldest.key]
    for waiting in sorted(joining, key=lambda w: abs(w.seconds - oldest.seconds)):
        lengths = min(shortest, waiting.seconds), max(longest, waiting.seconds)
        fits = len(chosen) < batch_items and total + waiting.seconds <= batch_audio_s
        if fits and alike(*lengths):
            chosen.append(waiting)
            total += waiting.seconds
            shortest, longest = lengths
    return chosen[len(begun) :]
