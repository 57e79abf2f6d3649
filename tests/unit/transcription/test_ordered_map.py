"""Order, limit, replacement and clean-up of OrderedMap, with work that ends when the test says so."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from whisper_serve.transcription.ordered_map import OrderedMap

pytestmark = pytest.mark.anyio


class Work:
    """Every call is put into `calls`, as its item and the future of its result."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[int, asyncio.Future[str]]] = asyncio.Queue()
        self.cancelled: list[int] = []

    async def __call__(self, item: int) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.calls.put_nowait((item, future))
        try:
            return await future
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise

    async def begun(self) -> tuple[int, "asyncio.Future[str]"]:
        return await asyncio.wait_for(self.calls.get(), 5)


def keep(result: str) -> None:
    """No result is replaced."""


def over(
    work: Work, items: int, limit: int, replacement: Callable[[str], int | None] = keep
) -> tuple["asyncio.Task[None]", list[str]]:
    """The task that takes the results of a map over 0 to items - 1, and those taken."""
    taken: list[str] = []
    ordered = OrderedMap(work, range(items), limit, replacement)

    async def take() -> None:
        async with aclosing(ordered.results()) as results:
            async for result in results:
                taken.append(result)

    return asyncio.create_task(take()), taken


async def test_results_have_the_order_of_the_items_however_the_calls_end() -> None:
    work = Work()
    taking, taken = over(work, 3, limit=3)
    calls = [await work.begun() for _ in range(3)]
    for item, future in reversed(calls):
        future.set_result(str(item))
    await taking
    assert taken == ["0", "1", "2"]


async def test_no_more_calls_run_at_once_than_the_limit() -> None:
    work = Work()
    taking, _ = over(work, 4, limit=2)
    (_, zero), (one, _) = await work.begun(), await work.begun()
    assert (one, work.calls.empty()) == (1, True)
    zero.set_result("0")
    two, _ = await work.begun()
    assert (two, work.calls.empty()) == (2, True)
    taking.cancel()


async def test_new_items_start_while_a_result_is_replaced() -> None:
    work = Work()
    taking, taken = over(work, 4, limit=2, replacement=lambda result: 10 if result == "bad" else None)
    (_, zero), (_, one) = await work.begun(), await work.begun()
    zero.set_result("bad")
    one.set_result("1")
    (ten, again), (two, second) = await work.begun(), await work.begun()
    assert (ten, two) == (10, 2)
    second.set_result("2")
    three, third = await work.begun()
    assert (three, taken) == (3, [])
    again.set_result("0")
    third.set_result("3")
    await taking
    assert taken == ["0", "1", "2", "3"]


async def test_replacements_start_before_new_items_and_within_the_limit() -> None:
    work, stale = Work(), set[str]()
    taking, taken = over(work, 4, 3, lambda result: int(result) + 10 if result in stale else None)
    (_, zero), (_, one), (_, two) = [await work.begun() for _ in range(3)]
    one.set_result("1")
    two.set_result("2")
    (three, _) = await work.begun()
    stale |= {"1", "2"}
    zero.set_result("0")
    (eleven, eleventh), (twelve, _) = await work.begun(), await work.begun()
    assert (three, eleven, twelve, work.calls.empty()) == (3, 11, 12, True)
    eleventh.set_exception(ValueError("one"))
    with pytest.raises(ValueError, match="one"):
        await taking
    assert taken == ["0"]


async def test_a_failure_is_raised_in_its_turn_and_cancels_the_rest() -> None:
    work = Work()
    taking, taken = over(work, 3, limit=3)
    (_, zero), (_, one), _ = [await work.begun() for _ in range(3)]
    one.set_exception(ValueError("one"))
    zero.set_result("0")
    with pytest.raises(ValueError, match="one"):
        await taking
    assert (taken, work.cancelled) == (["0"], [2])


async def test_closing_cancels_what_is_unfinished_and_starts_nothing_more() -> None:
    work = Work()
    results = OrderedMap(work, range(9), 2, keep).results()
    taking = asyncio.ensure_future(anext(results))
    (_, zero), _ = await work.begun(), await work.begun()
    zero.set_result("0")
    assert await taking == "0"
    await results.aclose()
    assert (work.cancelled, work.calls.empty()) == ([1], True)


async def test_no_items_give_no_results() -> None:
    assert [result async for result in OrderedMap(Work(), [], 2, keep).results()] == []
