"""How long a request may take, and the moment by which the present one must be done.

The moment is kept in the context, as the request's id is: tasks inherit it, threads and processes do not.
"""

import asyncio
import math
import time
from collections.abc import Awaitable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from whisper_serve.errors import TimedOut

T = TypeVar("T")

_until: ContextVar[float] = ContextVar("until", default=math.inf)


@dataclass(frozen=True, slots=True)
class RequestTimeout:
    """How long a request may take, waiting included."""

    base_s: float
    per_audio_s: float  # seconds on top, for each second of its recording

    def seconds(self, audio_s: float = 0.0) -> float:
        return self.base_s + self.per_audio_s * audio_s


def end_at(moment: float) -> None:
    """From here on in this task, and in those it starts, `moment` of time.monotonic() is the end."""
    _until.set(moment)


def left_s() -> float:
    """Seconds until the end; infinite where none is set, negative when it has passed."""
    return _until.get() - time.monotonic()


async def in_time(work: Awaitable[T], until: float) -> T:
    """Wait for it; cancel it and raise TimedOut at that moment of time.monotonic()."""
    left = None if until == math.inf else until - time.monotonic()
    try:
        return await asyncio.wait_for(work, left)
    except asyncio.TimeoutError as e:
        raise TimedOut(
            "it took longer than a request of its length may; try again when less is waiting"
        ) from e
