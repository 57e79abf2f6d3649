"""Pauses in a stream of events."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from whisper_serve.api.sse import Event, with_pauses

pytestmark = pytest.mark.anyio


async def test_a_pause_repeats_for_as_long_as_it_lasts_and_no_event_is_lost() -> None:
    go_on = asyncio.Event()

    async def events() -> AsyncGenerator[Event, None]:
        yield {"n": 1}
        await go_on.wait()
        yield {"n": 2}

    seen = []
    async for event in with_pauses(events(), 0.001):
        seen.append(event)
        if seen[1:] == [None, None]:
            go_on.set()
    assert [event for event in seen if event] == [{"n": 1}, {"n": 2}]
    assert seen[1:3] == [None, None]


async def test_an_error_comes_through() -> None:
    async def events() -> AsyncGenerator[Event, None]:
        yield {}
        raise KeyError("n")

    with pytest.raises(KeyError):
        assert [event async for event in with_pauses(events(), 1)]


@pytest.mark.parametrize("waiting", [True, False], ids=["while waiting", "at an event"])
async def test_who_stops_reading_ends_the_events(waiting: bool) -> None:
    ended = asyncio.Event()

    async def events() -> AsyncGenerator[Event, None]:
        try:
            yield {}
            await asyncio.Event().wait()
        finally:
            ended.set()

    reading = with_pauses(events(), 0.001)
    assert await anext(reading) == {}
    if waiting:
        assert await anext(reading) is None
    await reading.aclose()
    assert ended.is_set()
