"""Who may use the CPUs next: callers take turns, and what takes long makes room for what does not."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """At most `count` short pieces of work at once, and `aside` more that have taken longer than `patience_s`.

    Turns go round among the callers who wait, so that one with many requests does not keep the others from theirs.
    """

    def __init__(self, count: int, aside: int, patience_s: float) -> None:
        self._free = count
        self._room_aside = aside
        self._patience_s = patience_s
        self._waiting = OrderedDict[str, deque[asyncio.Future[None]]]()  # by caller, who is next in front

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the block."""
        await self._take(caller)
        work = _Work(self, self._patience_s)
        try:
            yield
        finally:
            work.end()

    async def _take(self, caller: str) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # both at the same time
                self.give()
            raise

    def give(self) -> None:
        """Pass a turn on."""
        while self._waiting:
            caller, requests = next(iter(self._waiting.items()))
            granted = requests.popleft()
            self._waiting.move_to_end(caller)
            if not requests:
                del self._waiting[caller]
            if not granted.cancelled():
                granted.set_result(None)
                return
        self._free += 1

    def set_aside(self) -> bool:
        """Whether work that takes long may go on without its turn."""
        if not self._room_aside:
            return False
        self._room_aside -= 1
        self.give()
        return True

    def end_aside(self) -> None:
        self._room_aside += 1


class _Work:
    """What has a turn, until it has taken too long."""

    def __init__(self, turns: Turns, patience_s: float) -> None:
        self._turns, self._patience_s = turns, patience_s
        self._is_aside = False
        self._wait()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._set_aside)

    def _set_aside(self) -> None:
        self._is_aside = self._turns.set_aside()
        if not self._is_aside:
            self._wait()

    def end(self) -> None:
        self._timer.cancel()
        if self._is_aside:
            self._turns.end_aside()
        else:
            self._turns.give()
