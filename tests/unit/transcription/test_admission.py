"""Admission, shares of the queue and Retry-After, on a clock of the test's own."""

import time
from contextlib import nullcontext

import pytest

from whisper_serve.errors import Overloaded
from whisper_serve.transcription.admission import PRIOR_RATE, Admission, Bounds, Rate, Reservation


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


def test_a_share_is_the_queue_divided_by_the_callers_to_the_fraction_of_a_second(
    admission: Admission,
) -> None:
    for caller in "abc":
        waiting(admission, caller, 1)
    waiting(admission, "a", 32.3)  # 33.3 of 100 s, by three callers
    with pytest.raises(Overloaded, match="33 s of the audio that waits is yours"):
        waiting(admission, "a", 0.1)


def test_half_a_second_that_waits_counts_as_a_long_recording_does(admission: Admission) -> None:
    waiting(admission, "b", 0.5)
    with pytest.raises(Overloaded, match="the queue is full"):
        waiting(admission, "a", 100)
    waiting(admission, "a", 0.5)
    with pytest.raises(Overloaded, match="is yours"):
        waiting(admission, "a", 60)
    waiting(admission, "b", 40)
    waiting(admission, "c", 44)
    with pytest.raises(Overloaded, match="the queue is full"):
        waiting(admission, "a", 6)  # into the reserve, which is for callers who have nothing in the queue


@pytest.mark.parametrize(("rest", "admitted"), [(4e-7, True), (4e-6, False)])
def test_what_sums_of_fractions_leave_over_is_no_audio_that_waits(
    admission: Admission, rest: float, admitted: bool
) -> None:
    for caller in "ab":  # another's, and one's own
        admission.waiting.clear()
        admission.waiting[caller] = rest
        with nullcontext() if admitted else pytest.raises(Overloaded):
            waiting(admission, "a", 500)


def test_what_does_not_grow_is_not_refused(admission: Admission) -> None:
    waiting(admission, "a", 80)
    last = waiting(admission, "a", 10)
    waiting(admission, "b", 1)  # and so half of the queue is all that would be a's
    last.reserve(10)
    last.reserve(9)
    with pytest.raises(Overloaded):
        last.reserve(9.5)


@pytest.mark.parametrize(("queued_s", "admitted"), [(99.0, True), (99.1, False)])
def test_before_it_is_read_a_recording_is_taken_to_have_one_second(
    admission: Admission, queued_s: float, admitted: bool
) -> None:
    waiting(admission, "a", queued_s)
    with nullcontext() if admitted else pytest.raises(Overloaded):
        admission.check("b")
    assert admission.queued_s == queued_s


def test_a_caller_without_recent_requests_has_no_share(admission: Admission, clock: Clock) -> None:
    with admission.reservation("b") as reservation:
        reservation.reserve(10)
    clock.now = 61.0
    for _ in range(9):
        waiting(admission, "a", 10)


def test_a_caller_has_a_share_for_a_minute_after_a_request(admission: Admission, clock: Clock) -> None:
    admission.check("b")
    clock.now = 60.0
    waiting(admission, "a", 40)
    with pytest.raises(Overloaded, match="is yours"):
        waiting(admission, "a", 20)
    clock.now = 60.1
    waiting(admission, "a", 20)


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
    reservation.transcribed(29.5)
    assert admission.queued_s == 0.5
    reservation.transcribed(0.75)  # a little more than was expected
    assert admission.waiting == {}


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


@pytest.mark.parametrize(("others_s", "own_s"), [(0, 5000), (1, 1), (900, 100), (0.5, 999.5)])
def test_decoded_audio_is_admitted_up_to_the_bound_and_alone_beyond_it(
    admission: Admission, others_s: float, own_s: float
) -> None:
    Reservation(admission, "a").update(buffered_s=others_s, pending_s=0)
    own = Reservation(admission, "b")
    own.update(buffered_s=own_s, pending_s=0)
    own.update(buffered_s=own_s / 2, pending_s=0)
    assert admission.buffered_s == others_s + own_s / 2


def test_a_little_audio_of_others_in_memory_bounds_a_recording_too(admission: Admission) -> None:
    Reservation(admission, "a").update(buffered_s=0.5, pending_s=0)
    with pytest.raises(Overloaded):
        Reservation(admission, "b").update(buffered_s=999.6, pending_s=0)


def test_uploads_are_admitted_up_to_the_bound_and_no_byte_beyond_it(admission: Admission) -> None:
    with admission.upload() as one, admission.upload() as other:
        one.grow_to(900)
        other.grow_to(50)
        other.grow_to(100)
        with pytest.raises(Overloaded, match="no room"):
            other.grow_to(101)
        assert (admission.uploading, other.size) == (1000, 100)


def test_a_refused_upload_is_told_how_much_there_is_of_others() -> None:
    admission = Admission(Bounds(upload_bytes=50_000_000))
    with admission.upload() as one, admission.upload() as other:
        one.grow_to(40_000_000)
        with pytest.raises(Overloaded, match="40 MB of uploads are in memory"):
            other.grow_to(10_000_001)


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


@pytest.mark.parametrize(
    ("seconds", "after"), [(0, 1), (10, 1), (10.1, 2), (1190, 119), (1190.1, 120), (1e9, 120)]
)
def test_retry_after_is_whole_seconds_rounded_up_from_one_to_two_minutes(
    admission: Admission, seconds: float, after: int
) -> None:
    assert admission.retry_after_s(seconds) == after


def test_what_was_measured_counts_half_after_half_a_minute(clock: Clock) -> None:
    rate = Rate(clock)
    rate.transcribed(990)  # and 10 as a prior, in a second
    clock.now = 15.0
    rate.pass_time(busy=True)
    clock.now = 30.0
    rate.pass_time(busy=True)
    assert rate.per_second == pytest.approx(500 / (0.5 + 15 * 0.5**0.5 + 15))


def test_the_rate_is_at_least_a_tenth_of_a_second_of_audio_a_second(clock: Clock) -> None:
    rate = Rate(clock)
    clock.now = 1000.0
    rate.transcribed(0)
    assert rate.per_second == 0.1


def test_idle_time_does_not_slow_the_measured_rate(admission: Admission, clock: Clock) -> None:
    clock.now = 1000.0
    waiting(admission, "a", 90)
    assert refused(admission) == 90 / PRIOR_RATE


def refused(admission: Admission) -> int:
    with pytest.raises(Overloaded) as e:
        waiting(admission, "b", 50)
    return e.value.retry_after_s


@pytest.mark.anyio
async def test_a_quota_is_spent_by_the_day(clock: Clock) -> None:
    admission = Admission(Bounds(quotas_s={"a": 100}), clock)
    for seconds in (60, 40):
        await admission.spend("a", seconds)
    with pytest.raises(Overloaded, match="of your 100 s of audio a day 0 s are left") as e:
        await admission.spend("a", 1)
    assert 0 < e.value.retry_after_s <= 86_400
    midnight = (time.time() + e.value.retry_after_s) / 86_400
    assert midnight == pytest.approx(round(midnight), abs=1e-4)
    await admission.spend("b", 1000)


@pytest.mark.anyio
async def test_a_quota_may_be_spent_to_the_last_second_and_what_is_left_is_told(clock: Clock) -> None:
    admission = Admission(Bounds(quotas_s={"a": 100}), clock)
    await admission.spend("a", 60)
    with pytest.raises(Overloaded, match="of your 100 s of audio a day 40 s are left"):
        await admission.spend("a", 40.5)
    await admission.spend("a", 40)
