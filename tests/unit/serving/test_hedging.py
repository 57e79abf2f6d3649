"""When a window is given to a second replica too, on a clock of the test's own."""

import pytest

from whisper_serve.config.model import HEDGE_BURST, Deployment
from whisper_serve.serving.hedging import Hedging, Waiting


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def measured(clock: Clock, **settings: float | None) -> Hedging:
    """Ten seconds of audio take one second."""
    hedging = Hedging(Deployment(**settings), clock)
    with hedging.waiting(10) as waiting:
        clock.now += 1
        waiting.answered()
    return hedging


def hedges_after(clock: Clock, waiting: Waiting, *moments_s: float) -> list[bool]:
    began, hedged = clock.now, []
    for moment in moments_s:
        clock.now = began + moment
        hedged.append(waiting.hedge())
    return hedged


def test_a_window_is_hedged_once_when_it_waits_longer_than_ten_times_its_expected_time(clock: Clock) -> None:
    with measured(clock).waiting(10) as waiting:
        assert waiting.pause_s() == pytest.approx(10)
        assert hedges_after(clock, waiting, 9.9, 10.1, 30) == [False, True, False]


def test_behind_other_audio_a_window_is_expected_later(clock: Clock) -> None:
    hedging = measured(clock)
    with hedging.waiting(30), hedging.waiting(10) as waiting:
        assert hedges_after(clock, waiting, 39.9, 40.1) == [False, True]
    assert hedging.in_flight_s == 0


def test_audio_of_hedged_windows_delays_no_others(clock: Clock) -> None:
    hedging = measured(clock)
    with hedging.waiting(10) as stuck:
        assert hedges_after(clock, stuck, 10.1) == [True]
        with hedging.waiting(10) as waiting:
            assert waiting.pause_s() == pytest.approx(10)
    assert hedging.in_flight_s == 0


def test_no_window_is_hedged_before_the_least_wait(clock: Clock) -> None:
    with measured(clock, hedge_min_s=3).waiting(0.1) as waiting:
        assert hedges_after(clock, waiting, 2.9, 3.1) == [False, True]


def test_nothing_is_hedged_before_anything_was_measured(clock: Clock) -> None:
    hedging = Hedging(Deployment(), clock)
    with hedging.waiting(10) as waiting:
        assert hedges_after(clock, waiting, 1e6) == [False]
        assert waiting.pause_s() == hedging.min_s
        hedging.measured(1, 10)
        assert waiting.hedge()


def test_hedging_can_be_switched_off(clock: Clock) -> None:
    with measured(clock, hedge_after=None).waiting(10) as waiting:
        assert hedges_after(clock, waiting, 1e6) == [False]


def test_hedges_are_a_bounded_share_of_all_windows(clock: Clock) -> None:
    hedging = measured(clock, hedge_share=0.25)
    hedged = 0
    for _ in range(100):
        with hedging.waiting(10) as waiting:
            hedged += hedges_after(clock, waiting, 1000).count(True)
    assert hedged == HEDGE_BURST + 100 * 0.25 - 1  # its first window found all of the burst unused


def test_the_expected_time_follows_what_is_measured(clock: Clock) -> None:
    hedging = measured(clock)
    for _ in range(100):
        with hedging.waiting(10) as waiting:
            clock.now += 2
            waiting.answered()
    assert hedging.expected_s(10) == pytest.approx(2, rel=0.01)
