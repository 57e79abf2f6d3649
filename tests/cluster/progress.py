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
    """Return once `done()`. Raises NoProgress after `quiet_s` with the same `state()`, or after `bound_s` in all."""
    began = changed = time.monotonic()
    last = state()
    looked = began
    while not done():
        now = time.monotonic()
        if now - looked >= min(STATE_EVERY_S, quiet_s):
            looked, before, last = now, last, state()
            changed = changed if last == before else now
        if now - changed > quiet_s:
            raise NoProgress(f"no progress for {quiet_s:g} s; last: {last}")
        if now - began > bound_s:
            raise NoProgress(f"not done after {bound_s:g} s; last: {last}")
        time.sleep(POLL_S)
