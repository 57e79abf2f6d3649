"""What callers have used of their limits: requests of the last minute, and audio of the day.

`Usage` counts. Who asks it awaits the answer, since it may be in another process: for several ingresses it is (serving/shared_usage.py).
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

DAY_S = 86_400
MINUTE_S = 60.0


@dataclass(slots=True)
class Bucket:
    """Requests a caller may still make; it fills up over a minute."""

    left: float
    since: float


class Usage:
    """What each caller has used. now: seconds that only pass; date: seconds since 1970, UTC."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, date: Callable[[], float] = time.time
    ) -> None:
        self._now, self._date = now, date
        self._buckets: dict[str, Bucket] = {}
        self._day = 0
        self._audio_s: defaultdict[str, float] = defaultdict(float)  # of that day

    def take_request(self, caller: str, per_minute: float) -> float:
        """Count a request. Returns 0.0, or the seconds after which there is room for it, where it is one too many."""
        now, most = self._now(), max(1.0, per_minute)
        bucket = self._buckets.setdefault(caller, Bucket(most, now))
        bucket.left = min(most, bucket.left + (now - bucket.since) * per_minute / MINUTE_S)
        bucket.since = now
        if bucket.left < 1:
            return (1 - bucket.left) * MINUTE_S / per_minute
        bucket.left -= 1
        return 0.0

    def take_audio(self, caller: str, seconds: float, per_day: float) -> float:
        """Count audio, unless it is more than the caller's day has left. Returns the seconds that it had left."""
        day = int(self._date()) // DAY_S
        if day != self._day:
            self._day = day
            self._audio_s.clear()
        left = per_day - self._audio_s[caller]
        if seconds <= left:
            self._audio_s[caller] += seconds
        return left


class AsksUsage(Protocol):
    """The methods of Usage, awaited."""

    async def take_request(self, caller: str, per_minute: float) -> float: ...

    async def take_audio(self, caller: str, seconds: float, per_day: float) -> float: ...


class OwnUsage:
    """In this process. share: the part of every limit that it grants."""

    def __init__(self, usage: Usage | None = None, share: float = 1.0) -> None:
        self._usage, self._share = usage or Usage(), share

    async def take_request(self, caller: str, per_minute: float) -> float:
        return self._usage.take_request(caller, per_minute * self._share)

    async def take_audio(self, caller: str, seconds: float, per_day: float) -> float:
        return self._usage.take_audio(caller, seconds, per_day * self._share)
