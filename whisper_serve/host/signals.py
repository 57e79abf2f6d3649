"""What signals ask of main.py: to stop, to stop at once, to read its configuration again."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

CHECK_S = 0.2
FORCE_S = 2.0

Handler = Callable[[int, FrameType | None], object] | int | None


class Stopped(BaseException):
    """A stop was asked for while something was under way that need not be finished."""


@dataclass(frozen=True, slots=True)
class Signals:
    """`abort` is called in the main thread at the second Ctrl-C. It must not return."""

    abort: Callable[[], None]
    stop: threading.Event = field(default_factory=threading.Event)  # SIGTERM, Ctrl-C
    change: threading.Event = field(default_factory=threading.Event)  # SIGHUP

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        signal.signal(signal.SIGINT, lambda *_: self._interrupt())
        signal.signal(signal.SIGHUP, lambda *_: self.change.set())

    def _interrupt(self) -> None:
        if self.stop.is_set():
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.abort()
        self.stop.set()

    def raise_if_stopped(self) -> None:
        if self.stop.is_set():
            raise Stopped


@contextmanager
def interrupted_by(*checks: Callable[[], None], forced: Callable[[BaseException], None]) -> Iterator[None]:
    """What the checks raise ends the block, however long it blocks. In the main thread only; takes SIGALRM.

    It is raised again and again: where a finalizer or a callback is running, the interpreter drops it. Where the block
    waits in compiled code, which nothing raises in, `forced` is called after some seconds, in another thread.
    """

    def run(*_: object) -> None:
        for check in checks:
            check()

    over = threading.Event()
    threading.Thread(target=force_late, args=(run, forced, over), daemon=True).start()
    before = signal.signal(signal.SIGALRM, run)
    signal.setitimer(signal.ITIMER_REAL, CHECK_S, CHECK_S)
    try:
        yield
    finally:
        over.set()
        disarm(before)


def force_late(
    check: Callable[[], None], forced: Callable[[BaseException], None], over: threading.Event
) -> None:
    """Call `forced` with what the check has raised for FORCE_S seconds; return when it is over."""
    since: float | None = None
    while not over.wait(CHECK_S):
        try:
            check()
        except BaseException as e:
            since = since or time.monotonic()
            if time.monotonic() - since > FORCE_S:
                forced(e)
                return
        else:
            since = None


def disarm(before: Handler) -> None:
    """End the timer, which may strike once more meanwhile."""
    while signal.getsignal(signal.SIGALRM) is not before:
        with suppress(BaseException):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
