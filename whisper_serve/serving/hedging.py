"""When a window is given to a second replica too: where it has waited for much longer than it should.

A hedged request, as in Dean and Barroso, "The Tail at Scale" (2013): whichever replica answers first wins. Knows no Ray.

By Little's law the time from sending a window to its answer is the audio in flight over the audio answered a second, so
the time for each second of audio in flight is measured, and it stays the same while queues fill and empty.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from whisper_serve.config.model import HEDGE_BURST, Deployment

WEIGHT = 0.1  # of the newest measurement in their moving mean


@dataclass(slots=True)
class Placement:
    """Where the router has put a window; it writes here while its sender waits."""

    replica: str = ""  # its id; empty: none yet
    others: bool = False  # whether there was another one that could take it


class Hedging:
    """What one ingress has in flight, and how long that takes. To be used from one event loop."""

    def __init__(self, settings: Deployment, now: Callable[[], float] = time.monotonic) -> None:
        self.after, self.min_s = settings.hedge_after, settings.hedge_min_s
        self.now = now
        self.in_flight_s = 0.0  # of audio, without that of windows that were hedged
        self._share = settings.hedge_share
        self._left = float(HEDGE_BURST)
        self._s_per_audio_s = math.inf  # until it has been measured

    @contextmanager
    def waiting(self, seconds: float) -> Iterator["Waiting"]:
        """While a window of this length is with a replica."""
        self.in_flight_s += seconds
        self._left = min(self._left + self._share, HEDGE_BURST)
        waiting = Waiting(self, seconds)
        try:
            yield waiting
        finally:
            waiting.leave()

    def expected_s(self, in_flight_s: float) -> float:
        """How long a window should take that is sent while so much audio is in flight, its own included."""
        return self._s_per_audio_s * in_flight_s

    def measured(self, seconds: float, in_flight_s: float) -> None:
        newest = seconds / in_flight_s
        before = self._s_per_audio_s
        self._s_per_audio_s = newest if before == math.inf else before + WEIGHT * (newest - before)

    def take(self) -> bool:
        """Whether one more window may be hedged; if so, it is counted."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Waiting:
    """One window, from the moment it is sent."""

    def __init__(self, hedging: Hedging, seconds: float) -> None:
        self._hedging = hedging
        self._seconds = seconds
        self._since = hedging.now()
        self._in_flight_s = hedging.in_flight_s

    def pause_s(self) -> float:
        """For how long to wait before asking `hedge` (again)."""
        left = self._left_s()
        return left if 0 < left < math.inf else self._hedging.min_s

    def hedge(self) -> bool:
        """Whether it is to be given to a second replica now. True once at most."""
        if not self._seconds or self._left_s() > 0 or not self._hedging.take():
            return False
        self.leave()
        return True

    def answered(self) -> None:
        """By the replica that it was sent to first."""
        self._hedging.measured(self._hedging.now() - self._since, self._in_flight_s)

    def leave(self) -> None:
        """It no longer counts as in flight."""
        self._hedging.in_flight_s -= self._seconds
        self._seconds = 0.0

    def _left_s(self) -> float:
        """Seconds until it is overdue; infinite where it never is."""
        hedging = self._hedging
        if hedging.after is None:
            return math.inf
        overdue_s = max(hedging.min_s, hedging.after * hedging.expected_s(self._in_flight_s))
        return self._since + overdue_s - hedging.now()
