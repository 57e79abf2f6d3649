"""What signals ask of main.py: to stop, to stop at once, to read its configuration again."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CHECK_S = 0.2


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
            self.abort()
        self.stop.set()

    def raise_if_stopped(self) -> None:
        if self.stop.is_set():
            raise Stopped


@contextmanager
def interrupted_by(*checks: Callable[[], None]) -> Iterator[None]:
    """What the checks raise ends the block, however long it blocks. In the main thread only; takes SIGALRM."""

    def run(*_: object) -> None:
        try:
            for check in checks:
                check()
        except BaseException:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise

    before = signal.signal(signal.SIGALRM, run)
    signal.setitimer(signal.ITIMER_REAL, CHECK_S, CHECK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
