"""Run an async function over many items, several at once, and hand out the results in the order of the items."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class OrderedMap(Generic[Item, Result]):
    """At most `limit` (>= 1) calls of `work` run at once; nothing new starts while a result waits to be taken.

    replacement: asked about results that have not been handed out; where it returns an item, `work` runs on that
    item, ahead of new ones, and its result takes the place of the one before. Meanwhile new items start.
    """

    def __init__(
        self,
        work: Callable[[Item], Coroutine[Any, Any, Result]],
        items: Iterable[Item],
        limit: int,
        replacement: Callable[[Result], Item | None],
    ) -> None:
        self._work = work
        self._waiting = deque(items)
        self._limit = limit
        self._replacement = replacement
        self._tasks = deque[asyncio.Task[Result]]()  # of items begun and not handed out, in order

    async def results(self) -> AsyncGenerator[Result, None]:
        """To be iterated once, and closed (`aclosing`), which cancels what is unfinished.

        Raises what `work` raised for an item, in that item's turn.
        """
        try:
            while self._waiting or self._tasks:
                first = self._tasks[0] if self._tasks else None
                if first and first.done() and self._to_replace(first) is None:
                    yield self._tasks.popleft().result()
                else:
                    self._start()
                    await asyncio.wait(self._unfinished(), return_when=asyncio.FIRST_COMPLETED)
        finally:  # the caller may be gone, or an item may have failed
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self) -> None:
        """Begin replacements, then new items, as far as the limit allows."""
        room = self._limit - len(self._unfinished())
        for i, task in enumerate(self._tasks):
            if room and (item := self._to_replace(task)) is not None:
                self._tasks[i] = asyncio.create_task(self._work(item))
                room -= 1
        while room and self._waiting:
            self._tasks.append(asyncio.create_task(self._work(self._waiting.popleft())))
            room -= 1

    def _unfinished(self) -> list["asyncio.Task[Result]"]:
        return [task for task in self._tasks if not task.done()]

    def _to_replace(self, task: "asyncio.Task[Result]") -> Item | None:
        """The item to run in place of a task that has a result, if any."""
        if not task.done() or task.cancelled() or task.exception():
            return None
        return self._replacement(task.result())
