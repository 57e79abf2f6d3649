"""Admission, shares of the queue and Retry-After, on a clock of the test's own."""

import pytest

from whisper_serve.errors import Overloaded
from whisper_serve.transcription.admission import PRIOR_RATE, Admission, Bounds, Reservation


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(Bounds(queued_s=100, buffered_s=1000, upload_bytes=1000), clock)


def waiting(admission: Admission, caller: str, seconds: float) -> Reservation:
    reservation = Reservation(admission, caller)
    reservation.reserve(seconds)
    return reservation


def test_one_caller_alone_may_fill_all_but_the_reserve(admission: Admission) -> None:
    for _ in range(9):
        waiting(admission, "a", 10)
    with pytest.raises(Overloaded, match="the queue is full: 90 s of audio wait"):
        waiting(admission, "a", 10)


def test_a_new_caller_is_admitted_where_another_has_filled_the_queue(admission: Admission) -> None:
    for _ in range(9):
        waiting(admission, "a", 10)
    waiting(admission, "b", 10)
    with pytest.raises(Overloaded, match="the queue is full"):
        waiting(admission, "c", 10)
    assert admission.queued_s == 100


def test_callers_who_are_active_at_once_get_equal_shares(admission: Admission) -> None:
    for caller in "ab":
        waiting(admission, caller, 10)
    for _ in range(4):
        waiting(admission, "a", 10)
    with pytest.raises(Overloaded, match="50 s of the audio that waits is yours"):
        waiting(admission, "a", 10)
    waiting(admission, "b", 10)


def test_a_caller_without_recent_requests_has_no_share(admission: Admission, clock: Clock) -> None:
    with admission.reservation("b") as reservation:
        reservation.reserve(10)
    clock.now = 61.0
    for _ in range(9):
        waiting(admission, "a", 10)


def test_an_idle_service_admits_even_more_than_its_queue_holds(admission: Admission) -> None:
    reservation = waiting(admission, "a", 500)
    with pytest.raises(Overloaded):
        waiting(admission, "b", 1)
    reservation.update(0, 0)
    waiting(admission, "b", 1)


def test_only_windows_that_can_be_in_flight_count_as_queued(admission: Admission) -> None:
    reservation = waiting(admission, "a", 10)
    reservation.update(buffered_s=600, pending_s=600, parallel_s=60)
    assert admission.queued_s == 60
    for _ in range(18):
        reservation.transcribed(30)
    assert admission.queued_s == 60
    reservation.transcribed(30)
    assert admission.queued_s == 30


def test_a_length_that_turns_out_greater_may_be_refused_and_is_released(admission: Admission) -> None:
    other = waiting(admission, "b", 80)
    with admission.reservation("a") as reservation:
        reservation.reserve(1)
        with pytest.raises(Overloaded):
            reservation.update(buffered_s=50, pending_s=50)
    assert (admission.queued_s, admission.buffered_s) == (80, 0)
    other.update(0, 0)
    assert admission.waiting == {}


def test_decoded_audio_in_memory_is_bounded_whatever_is_queued(admission: Admission) -> None:
    Reservation(admission, "a").update(buffered_s=900, pending_s=1)
    with pytest.raises(Overloaded, match="900 s of audio are held in memory"):
        Reservation(admission, "b").update(buffered_s=200, pending_s=1)
    assert (admission.buffered_s, admission.queued_s) == (900, 1)


def test_uploads_are_bounded_together(admission: Admission) -> None:
    with admission.upload() as one, admission.upload() as other:
        one.grow_to(5000)  # alone, any that one request may send
        with pytest.raises(Overloaded, match="no room"):
            other.grow_to(1)
    with admission.upload() as next_one:
        next_one.grow_to(900)
        next_one.grow_to(100)
        assert admission.uploading == 900
    assert admission.uploading == 0


def test_retry_after_is_the_backlog_over_the_measured_rate(admission: Admission, clock: Clock) -> None:
    reservation = waiting(admission, "a", 90)
    assert refused(admission) == 90 / PRIOR_RATE
    reservation.update(90, 90)
    for _ in range(100):  # 2 s of audio transcribed a second, for long
        clock.now += 1
        admission.transcribed(2)
    assert refused(admission) == pytest.approx(45, abs=3)


def test_idle_time_does_not_slow_the_measured_rate(admission: Admission, clock: Clock) -> None:
    clock.now = 1000.0
    waiting(admission, "a", 90)
    assert refused(admission) == 90 / PRIOR_RATE


def refused(admission: Admission) -> int:
    with pytest.raises(Overloaded) as e:
        waiting(admission, "b", 50)
    return e.value.retry_after_s


def test_a_quota_is_spent_by_the_day(clock: Clock) -> None:
    admission = Admission(Bounds(quotas_s={"a": 100}), clock)
    for seconds in (60, 40):
        with admission.reservation("a") as reservation:
            reservation.update(seconds, seconds)
    with pytest.raises(Overloaded, match="of your 100 s of audio a day 0 s are left") as e:
        Reservation(admission, "a").update(1, 1)
    assert 0 < e.value.retry_after_s <= 86_400
    Reservation(admission, "b").update(1000, 1000)
