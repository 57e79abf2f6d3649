"""What signals ask of main.py: to stop, to stop at once, to read its configuration again."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

CHECK_S = 0.2

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
def interrupted_by(*checks: Callable[[], None]) -> Iterator[None]:
    """What the checks raise ends the block, however long it blocks. In the main thread only; takes SIGALRM.

    It is raised again and again: where a finalizer or a callback is running, the interpreter drops it.
    """

    def run(*_: object) -> None:
        for check in checks:
            check()

    before = signal.signal(signal.SIGALRM, run)
    signal.setitimer(signal.ITIMER_REAL, CHECK_S, CHECK_S)
    try:
        yield
    finally:
        disarm(before)


def disarm(before: Handler) -> None:
    """End the timer, which may strike once more meanwhile."""
    while signal.getsignal(signal.SIGALRM) is not before:
        with suppress(BaseException):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
