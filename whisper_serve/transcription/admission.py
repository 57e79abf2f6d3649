"""Admission by audio: a reservation for each request, or Overloaded with when to try again.

Three things are bounded: audio that waits for a replica, decoded audio in
memory, and bytes of uploads. A reservation ends with its `with` block.
"""

import math
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from whisper_serve.errors import Overloaded

RESERVE = 0.1  # of the queue is kept for callers who have nothing in it
LEAST_S = 1.0  # of audio, that anyone may bring
DAY_S = 86_400
LATELY_S = 60.0  # who asked within it, answered or refused, has a claim to a share
PRIOR_RATE = 10.0  # audio seconds transcribed a second, until it has been measured
HALF_LIFE_S = 30.0  # of a measurement
WAITS_S = range(1, 121)  # clients heed no longer Retry-After


@dataclass(frozen=True, slots=True)
class Bounds:
    queued_s: float = math.inf  # audio waiting for a replica
    buffered_s: float = math.inf  # decoded audio in memory
    upload_bytes: float = math.inf
    quotas_s: Mapping[str, float] = field(default_factory=dict)  # audio a day (UTC), by caller


class Admission:
    def __init__(self, bounds: Bounds, now: Callable[[], float] = time.monotonic) -> None:
        self.bounds = bounds
        self.waiting: defaultdict[str, float] = defaultdict(float)  # seconds of audio by caller
        self.buffered_s = 0.0
        self.uploading = 0  # bytes
        self.spent: defaultdict[tuple[str, int], float] = defaultdict(
            float
        )  # seconds of audio by caller and day
        self._seen: OrderedDict[str, float] = OrderedDict()  # callers, and when they last asked
        self._rate = Rate(now)
        self._now = now

    @property
    def queued_s(self) -> float:
        return sum(list(self.waiting.values()))  # a list, as others may come in meanwhile

    @contextmanager
    def reservation(self, caller: str) -> Iterator["Reservation"]:
        """An empty reservation; whatever it grows to is released at the end."""
        reservation = Reservation(self, caller)
        try:
            yield reservation
        finally:
            reservation.update(0.0, 0.0)

    def check(self, caller: str) -> None:
        """Raise Overloaded where not even the least audio of this caller could be admitted, before it sends any."""
        self._check_queue(caller, 0.0, LEAST_S)

    @contextmanager
    def upload(self) -> Iterator["Upload"]:
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

    def spend(self, caller: str, seconds: float) -> None:
        """Take it off the caller's quota of the day, as long as this process remembers. Raises Overloaded."""
        quota = self.bounds.quotas_s.get(caller)
        if quota is None:
            return
        day, now = divmod(int(time.time()), DAY_S)
        left = quota - self.spent[caller, day]
        if seconds > left:
            raise Overloaded(f"of your {quota:g} s of audio a day {max(left, 0):.0f} s are left", DAY_S - now)
        for who in [who for who in self.spent if who[1] != day]:
            del self.spent[who]
        self.spent[caller, day] += seconds

    def transcribed(self, seconds: float) -> None:
        self._rate.transcribed(seconds)

    def retry_after_s(self, seconds: float) -> int:
        """Whole seconds it takes to transcribe so much audio, as clients heed them."""
        return min(max(math.ceil(seconds / self._rate.per_second), WAITS_S[0]), WAITS_S[-1])

    def _check_queue(self, caller: str, before: float, after: float) -> None:
        active, bound = self._active(caller), self.bounds.queued_s
        others = round(self.queued_s - before, 6)
        mine = round(self.waiting.get(caller, 0.0) - before, 6)
        if others <= 0:
            return  # nobody waits: even more than the bound may come
        if others + after > bound * (1.0 if mine <= 0 else 1 - RESERVE):
            raise Overloaded(f"the queue is full: {others:.0f} s of audio wait", self.retry_after_s(others))
        if mine > 0 and mine + after > bound / active:
            said = f"others wait too, and {mine:.0f} s of the audio that waits is yours"
            raise Overloaded(said, self.retry_after_s(mine))

    def _active(self, caller: str) -> int:
        """How many share the queue: who asked lately, and who waits still."""
        now = self._now()
        self._seen[caller] = now
        self._seen.move_to_end(caller)
        while now - next(iter(self._seen.values())) > LATELY_S:
            self._seen.popitem(last=False)
        return len(self._seen.keys() | self.waiting.keys())


class Reservation:
    """What one request has waiting and holds in memory."""

    def __init__(self, admission: Admission, caller: str) -> None:
        self._admission = admission
        self._caller = caller
        self._queued_s = self._buffered_s = 0.0
        self._pending_s = self._at_once_s = 0.0

    def reserve(self, seconds: float) -> None:
        """Wait with about so much audio, before its length is known. Raises Overloaded."""
        self._queue(seconds)

    def update(self, buffered_s: float, pending_s: float, at_once_s: float = math.inf) -> None:
        """Buffer so much decoded audio, of which so much is still to be transcribed. Raises Overloaded.

        at_once_s: what of it can be with the replicas at once. The rest is in
        nobody's way, and does not count as waiting.
        """
        admission, bound = self._admission, self._admission.bounds.buffered_s
        others = admission.buffered_s - self._buffered_s
        if others > 0 and buffered_s > self._buffered_s and others + buffered_s > bound:
            wait = admission.retry_after_s(admission.queued_s)
            raise Overloaded(
                f"{others:.0f} s of audio are held in memory, and there is no room for more", wait
            )
        if buffered_s > self._buffered_s:
            admission.spend(self._caller, buffered_s - self._buffered_s)
        self._pending_s, self._at_once_s = pending_s, at_once_s
        self._queue(min(pending_s, at_once_s))
        admission.buffered_s += buffered_s - self._buffered_s
        self._buffered_s = buffered_s

    def transcribed(self, seconds: float) -> None:
        """So much less is waiting."""
        self._admission.transcribed(seconds)
        self._pending_s = max(0.0, self._pending_s - seconds)
        self._queue(min(self._pending_s, self._at_once_s, self._queued_s))

    def _queue(self, seconds: float) -> None:
        self._admission.queue(self._caller, self._queued_s, seconds)
        self._queued_s = seconds


class Upload:
    """The bytes of one request's body."""

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
            raise Overloaded(f"{others / 1e6:.0f} MB of uploads are being worked on; there is no room", wait)
        admission.uploading += more
        self.size = size


class Rate:
    """Audio seconds transcribed per second in which some waited; what was long ago counts less."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._then = now()
        self._transcribed_s, self._busy_s = PRIOR_RATE, 1.0

    @property
    def per_second(self) -> float:
        return max(self._transcribed_s / self._busy_s, 0.1)

    def pass_time(self, busy: bool) -> None:
        now = self._now()
        if busy:
            kept = 0.5 ** ((now - self._then) / HALF_LIFE_S)
            self._transcribed_s *= kept
            self._busy_s = self._busy_s * kept + now - self._then
        self._then = now

    def transcribed(self, seconds: float) -> None:
        self.pass_time(busy=True)
        self._transcribed_s += seconds
