import asyncio

import pytest

from whisper_serve.transcription.turns import Turns

pytestmark = pytest.mark.anyio

NEVER = 1e9  # seconds


class Worker:
    """Work of a caller that takes turns, and ends when it is told to."""

    def __init__(self, turns: Turns, caller: str = "ada") -> None:
        self.begun, self.told = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._work(turns, caller))

    async def _work(self, turns: Turns, caller: str) -> None:
        async with turns.turn(caller):
            self.begun.set()
            await self.told.wait()

    async def end(self) -> None:
        self.told.set()
        await self.task


async def settled() -> None:
    for _ in range(9):
        await asyncio.sleep(0)


async def test_no_more_work_at_once_than_there_are_turns() -> None:
    turns = Turns(2, 0, NEVER)
    workers = [Worker(turns) for _ in range(4)]
    await settled()
    assert [w.begun.is_set() for w in workers] == [True, True, False, False]
    for worker in workers:
        await worker.end()
    assert all(w.begun.is_set() for w in workers)


async def test_turns_go_round_among_callers() -> None:
    turns = Turns(1, 0, NEVER)
    first = Worker(turns, "ada")
    await settled()
    workers = [Worker(turns, caller) for caller in ("ada", "ada", "ada", "bob", "bob")]
    await settled()
    order = []
    await first.end()
    for _ in workers:
        await settled()
        (running,) = (i for i, w in enumerate(workers) if w.begun.is_set() and not w.task.done())
        order.append(running)
        await workers[running].end()
    assert order == [0, 3, 1, 4, 2]


async def test_who_leaves_while_waiting_takes_no_turn() -> None:
    turns = Turns(1, 0, NEVER)
    first, left, last = Worker(turns), Worker(turns), Worker(turns)
    await settled()
    left.task.cancel()
    await first.end()
    await asyncio.wait_for(last.begun.wait(), 10)
    assert not left.begun.is_set()
    await last.end()


async def test_a_turn_granted_to_one_who_leaves_at_that_moment_is_passed_on() -> None:
    turns = Turns(1, 0, NEVER)
    first, left, last = Worker(turns), Worker(turns), Worker(turns)
    await settled()
    turns.give()
    left.task.cancel()
    await asyncio.wait_for(last.begun.wait(), 10)
    assert left.task.cancelled()
    await last.end()
    await first.end()


async def test_what_takes_long_makes_room_as_far_as_there_is_room_beside() -> None:
    turns = Turns(1, 1, 0)
    long, second, third = Worker(turns), Worker(turns), Worker(turns)
    await asyncio.wait_for(second.begun.wait(), 10)
    await settled()
    assert not third.begun.is_set()
    await long.end()
    await asyncio.wait_for(third.begun.wait(), 10)
    await second.end()
    await third.end()
    again = [Worker(turns) for _ in range(2)]
    await settled()
    assert all(w.begun.is_set() for w in again)
    for worker in again:
        await worker.end()
