"""Counting requests by the minute and audio by the day, on clocks of the test's own."""

import pytest

from whisper_serve.transcription.usage import DAY_S, OwnUsage, Usage


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_one_request_a_minute_is_one_in_each_minute(clock: Clock) -> None:
    usage, granted = Usage(now=clock), 0
    for clock.now in range(180):
        granted += usage.take_request("a", 1) == 0
    assert granted == 3


def test_a_rate_below_one_a_minute_is_kept_too(clock: Clock) -> None:
    usage = Usage(now=clock)
    assert usage.take_request("a", 0.5) == 0
    clock.now = 90
    assert usage.take_request("a", 0.5) == pytest.approx(30)
    clock.now = 120
    assert usage.take_request("a", 0.5) == 0


def test_requests_that_are_refused_do_not_count(clock: Clock) -> None:
    usage = Usage(now=clock)
    waits = [usage.take_request("a", 2) for _ in range(10)]
    assert waits == [0, 0, *[30] * 8]
    assert usage.take_request("b", 2) == 0


def test_audio_is_taken_up_to_the_whole_quota_of_a_day(clock: Clock) -> None:
    usage = Usage(date=clock)
    assert [usage.take_audio("a", 6, 20) for _ in range(4)] == [20, 14, 8, 2]
    assert usage.take_audio("a", 2, 20) == 2
    assert usage.take_audio("a", 0.1, 20) == 0
    assert usage.take_audio("b", 20, 20) == 20
    clock.now = DAY_S
    assert usage.take_audio("a", 20, 20) == 20


@pytest.mark.anyio
async def test_a_share_of_the_limits_is_granted_where_each_ingress_counts(clock: Clock) -> None:
    own = OwnUsage(Usage(clock, clock), share=0.5)
    assert [await own.take_request("a", 4) for _ in range(3)] == [0, 0, 30]
    assert await own.take_audio("a", 10, 20) == 10
    assert await own.take_audio("a", 1, 20) == 0
