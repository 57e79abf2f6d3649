"""Wait for as long as there is progress: installations on busy cores take minutes, a process that died takes for ever."""

import time
from collections.abc import Callable

QUIET_S = 240.0  # without progress: the longest single step (pip on a busy machine) takes half of it
BOUND_S = 1800.0  # in all
STATE_EVERY_S = 5.0
POLL_S = 0.1


class NoProgress(AssertionError):
    """What was waited for did not come; says what was there last."""


def wait_while_progressing(
    done: Callable[[], object],
    state: Callable[[], object],
    quiet_s: float = QUIET_S,
    bound_s: float = BOUND_S,
) -> None:
    """Return once `done()`. Raises NoProgress after `quiet_s` without a new `state()`, or after `bound_s` in all.

    A state that was there before is no progress: one that comes and goes is none.
    """
    began = changed = checked = time.monotonic()
    seen = [state()]
    while not done():
        now = time.monotonic()
        if now - checked >= min(STATE_EVERY_S, quiet_s / 4):
            checked = now
            if (current := state()) not in seen:
                seen.append(current)
                changed = now
        if now - changed > quiet_s:
            raise NoProgress(f"no progress for {quiet_s:g} s; last: {seen[-1]}")
        if now - began > bound_s:
            raise NoProgress(f"not done after {bound_s:g} s; last: {seen[-1]}")
        time.sleep(POLL_S)
