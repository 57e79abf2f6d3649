"""Admission control: each request reserves room for its audio, or is refused with the time after which to try again.

Three things are bounded: audio that waits for a replica, decoded audio in
memory, and bytes of uploads. A reservation ends with its `with` block.
"""

import math
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from whisper_serve.errors import Overloaded, QuotaUsedUp
from whisper_serve.telemetry.logs import audit
from whisper_serve.transcription.usage import DAY_S, AsksUsage, OwnUsage

RESERVED_SHARE = 0.1  # of the queue, for callers who have nothing in it
SHORTEST_S = 1.0  # of audio: a request is taken to have that much before it is read
ACTIVE_S = 60.0  # a caller has a share of the queue for so long after each request, admitted or refused
PRIOR_RATE = 10.0  # audio seconds transcribed a second, until it has been measured
HALF_LIFE_S = 30.0  # of a measurement
RETRY_AFTER_S = range(1, 121)  # clients wait no longer, whatever Retry-After says


@dataclass(frozen=True, slots=True)
class Bounds:
    queued_s: float = math.inf  # audio that waits for a replica
    buffered_s: float = math.inf  # decoded audio in memory
    upload_bytes: float = math.inf
    quotas_s: Mapping[str, float] = field(default_factory=dict)  # audio a day (UTC), by caller


class Admission:
    """What all requests of one ingress have waiting, in memory and uploading, within `bounds`. usage: of callers' limits."""

    def __init__(
        self, bounds: Bounds, now: Callable[[], float] = time.monotonic, usage: AsksUsage | None = None
    ) -> None:
        self.bounds = bounds
        self.usage = usage or OwnUsage()
        self.waiting: defaultdict[str, float] = defaultdict(float)  # seconds of audio by caller
        self.buffered_s = 0.0
        self.uploading = 0  # bytes
        self._last_request: OrderedDict[str, float] = OrderedDict()  # its moment by caller, oldest first
        self._rate = Rate(now)
        self._now = now

    @property
    def queued_s(self) -> float:
        return sum(list(self.waiting.values()))  # a list: other threads may change it meanwhile

    @contextmanager
    def reservation(self, caller: str) -> Iterator["Reservation"]:
        """An empty reservation; whatever it grows to is released at the end."""
        reservation = Reservation(self, caller)
        try:
            yield reservation
        finally:
            reservation.update(0.0, 0.0)

    def check(self, caller: str) -> None:
        """Raise Overloaded where not even the shortest recording of this caller would be admitted, before it is sent."""
        self._check_queue(caller, 0.0, SHORTEST_S)

    @contextmanager
    def upload(self) -> Iterator["Upload"]:
        """An empty upload; the bytes it grows to are released at the end."""
        upload = Upload(self)
        try:
            yield upload
        finally:
            self.uploading -= upload.size

    def queue(self, caller: str, before: float, after: float) -> None:
        """Change what one reservation of a caller has waiting. Raises Overloaded where there is no room for more."""
        if after > before:
            self._check_queue(caller, before, after)
        self._rate.pass_time(busy=bool(self.waiting))
        self.waiting[caller] += after - before
        if self.waiting[caller] < 1e-6:
            del self.waiting[caller]

    async def spend(self, caller: str, seconds: float) -> None:
        """Take seconds of audio from the caller's quota of the day. Raises QuotaUsedUp."""
        await self._take_quota(caller, seconds, seconds)

    async def check_quota(self, caller: str) -> None:
        """Raise QuotaUsedUp where the caller's quota of the day has not even room for the shortest recording."""
        await self._take_quota(caller, 0.0, SHORTEST_S)

    async def _take_quota(self, caller: str, taken_s: float, needed_s: float) -> None:
        quota = self.bounds.quotas_s.get(caller)
        if quota is None:
            return
        left = await self.usage.take_audio(caller, taken_s, quota)
        if needed_s > left:
            audit("limit reached", caller=caller, limit="audio_s_per_day")
            until_tomorrow = DAY_S - int(time.time()) % DAY_S
            raise QuotaUsedUp(
                f"of your {quota:g} s of audio a day {max(left, 0):.0f} s are left", until_tomorrow
            )

    def transcribed(self, seconds: float) -> None:
        self._rate.transcribed(seconds)

    def retry_after_s(self, seconds: float) -> int:
        """Whole seconds in which so many seconds of audio are transcribed, at the measured rate."""
        return min(max(math.ceil(seconds / self._rate.per_second), RETRY_AFTER_S[0]), RETRY_AFTER_S[-1])

    def _check_queue(self, caller: str, before: float, after: float) -> None:
        active, bound = self._active(caller), self.bounds.queued_s
        queued_s = round(self.queued_s - before, 6)  # without the reservation that is changed
        own_s = round(self.waiting.get(caller, 0.0) - before, 6)
        if queued_s <= 0:
            return  # nothing else waits: even more than the bound is admitted
        if queued_s + after > bound * (1.0 if own_s <= 0 else 1 - RESERVED_SHARE):
            raise Overloaded(
                f"the queue is full: {queued_s:.0f} s of audio wait", self.retry_after_s(queued_s)
            )
        if own_s > 0 and own_s + after > bound / active:
            raise Overloaded(
                f"others wait too, and {own_s:.0f} s of the audio that waits is yours",
                self.retry_after_s(own_s),
            )

    def _active(self, caller: str) -> int:
        """How many callers share the queue: those with a recent request, and those with audio that waits."""
        now = self._now()
        self._last_request[caller] = now
        self._last_request.move_to_end(caller)
        while now - next(iter(self._last_request.values())) > ACTIVE_S:
            self._last_request.popitem(last=False)
        return len(self._last_request.keys() | self.waiting.keys())


class Reservation:
    """Seconds of audio that one request has waiting and in memory."""

    def __init__(self, admission: Admission, caller: str) -> None:
        self._admission = admission
        self._caller = caller
        self._queued_s = self._buffered_s = 0.0
        self._pending_s = self._parallel_s = 0.0

    def reserve(self, seconds: float) -> None:
        """Queue an expected length, before the recording is decoded. Raises Overloaded."""
        self._queue(seconds)

    def update(self, buffered_s: float, pending_s: float, parallel_s: float = math.inf) -> None:
        """Set how much decoded audio is in memory, and how much of it is to be transcribed. Raises Overloaded.

        parallel_s: how much of it can be with the replicas at once. Only that counts as queued, since the
        rest delays nobody else.
        """
        admission, bound = self._admission, self._admission.bounds.buffered_s
        others = admission.buffered_s - self._buffered_s
        if others > 0 and buffered_s > self._buffered_s and others + buffered_s > bound:
            wait = admission.retry_after_s(admission.queued_s)
            raise Overloaded(
                f"{others:.0f} s of audio are held in memory, and there is no room for more", wait
            )
        self._pending_s, self._parallel_s = pending_s, parallel_s
        self._queue(min(pending_s, parallel_s))
        admission.buffered_s += buffered_s - self._buffered_s
        self._buffered_s = buffered_s

    def transcribed(self, seconds: float) -> None:
        """Count so many seconds as done."""
        self._admission.transcribed(seconds)
        self._pending_s = max(0.0, self._pending_s - seconds)
        self._queue(min(self._pending_s, self._parallel_s, self._queued_s))

    def _queue(self, seconds: float) -> None:
        self._admission.queue(self._caller, self._queued_s, seconds)
        self._queued_s = seconds


class Upload:
    """The bytes of one request's body in memory."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.size = 0

    def grow_to(self, size: int) -> None:
        """Raises Overloaded where all uploads together would be too large."""
        more = size - self.size
        if more <= 0:
            return
        admission = self._admission
        others = admission.uploading - self.size
        if others and others + size > admission.bounds.upload_bytes:
            wait = admission.retry_after_s(admission.queued_s)
            raise Overloaded(f"{others / 1e6:.0f} MB of uploads are in memory; there is no room", wait)
        admission.uploading += more
        self.size = size


class Rate:
    """Audio seconds transcribed per second in which some waited: an exponentially decaying mean."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since = now()
        self._transcribed_s, self._busy_s = PRIOR_RATE, 1.0

    @property
    def per_second(self) -> float:
        return max(self._transcribed_s / self._busy_s, 0.1)

    def pass_time(self, busy: bool) -> None:
        now = self._now()
        if busy:
            decay = 0.5 ** ((now - self._since) / HALF_LIFE_S)
            self._transcribed_s *= decay
            self._busy_s = self._busy_s * decay + now - self._since
        self._since = now

    def transcribed(self, seconds: float) -> None:
        self.pass_time(busy=True)
        self._transcribed_s += seconds
