"""Processes in, what they and all they started took while a block ran out: CPU time, and the most memory."""

import threading
from collections.abc import Sequence
from types import TracebackType

import psutil

EVERY_S = 5.0  # a look at all of Ray takes 70 ms of CPU time


class Meter:
    """Looks every few seconds; what a process did between the last look and its end is lost."""

    def __init__(self, roots: Sequence[psutil.Process]) -> None:
        self._roots = roots
        self._before: dict[psutil.Process, float] = {}
        self._now: dict[psutil.Process, float] = {}
        self._left = threading.Event()
        self._watch = threading.Thread(target=self._look_often, daemon=True)
        self.peak_mb = 0.0  # 1e6 bytes, shared pages counted once (PSS) where the system tells

    @property
    def cpu_s(self) -> float:
        """User and system time; of a process that began in the block, all it took."""
        return sum(taken - self._before.get(process, 0.0) for process, taken in self._now.items())

    def __enter__(self) -> "Meter":
        self._look()
        self._before = dict(self._now)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._watch.join()
        self._look()

    def _look_often(self) -> None:
        while not self._left.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        memory = 0.0
        for process in family(self._roots):
            try:
                times, told = process.cpu_times(), process.memory_full_info()
            except psutil.Error:  # it ended, or is another user's
                continue
            self._now[process] = times.user + times.system
            memory += getattr(told, "pss", told.rss)
        self.peak_mb = max(self.peak_mb, memory / 1e6)


def family(roots: Sequence[psutil.Process]) -> list[psutil.Process]:
    """The processes and all that descend from them."""
    found = []
    for root in roots:
        try:
            found += [root, *root.children(recursive=True)]
        except psutil.Error:
            continue
    return found
