"""When the work at hand must be done: set by the one who began it, asked by those it waits for.

Kept in the context, as the request's id is: it goes along into tasks, not into threads or processes.
"""

import math
import time
from contextvars import ContextVar

_until: ContextVar[float] = ContextVar("until", default=math.inf)


def end_at(moment: float) -> None:
    """From here on in this task, `moment` of time.monotonic() is the end."""
    _until.set(moment)


def left_s() -> float:
    """Seconds until then; infinite where nobody set an end, negative when it has passed."""
    return _until.get() - time.monotonic()
