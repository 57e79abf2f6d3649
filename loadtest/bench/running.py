"""Contestants, each with a process of its own, and what a piece of work costs them. To add one: a row in LOADS."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from loadtest.bench import child
from loadtest.bench.child import Load, Start
from loadtest.bench.figures import Measured
from loadtest.bench.peers import faster_whisper, openai_whisper, whisper_cpp
from loadtest.common import ROOT
from loadtest.common.client import Loop
from loadtest.common.clips import Clip
from loadtest.common.errors import CannotRun
from loadtest.common.processes import Meter, own_process
from loadtest.common.service import own_service
from whisper_serve.errors import WeightsError

SERVICE = "service"
LOADS: dict[str, Load] = {
    SERVICE: child.load_service,
    "faster-whisper": faster_whisper.load,
    "openai-whisper": openai_whisper.load,
    "whisper.cpp": whisper_cpp.load,
}


class Running:
    """A contestant that is ready."""

    def __init__(self, start: Start, executor: Executor, process: psutil.Process) -> None:
        self._start, self._executor, self._process = start, executor, process

    def measure(self, clips: Sequence[Clip], callers: int) -> Measured:
        """Have every clip transcribed, by so many callers. Raises CannotRun."""
        with Meter(self._process) as meter:
            loop = self.work(clips, callers)
        client = loop.cpu_s / loop.wall_s if self._start.kind == SERVICE else None
        return Measured(loop.results, loop.wall_s, meter.cpu_s, meter.peak_mb, client)

    def work(self, clips: Sequence[Clip], callers: int) -> Loop:
        kind = self._start.kind
        try:
            return self._executor.submit(child.work, LOADS[kind], self._start, clips, callers).result()
        except (ImportError, OSError, RuntimeError, ValueError, CannotRun, WeightsError) as e:
            raise CannotRun(f"{kind}: {e}") from e


@contextmanager
def running(start: Start, config: Path, log: Path, root: Path = ROOT) -> Iterator[Running]:
    """A contestant, until the block is left; the service is that of the checkout `root`. Raises CannotRun."""
    if start.kind != SERVICE:
        with own_process(log) as (executor, process):
            peer = Running(start, executor, process)
            peer.work((), 1)
            yield peer
        return
    with (
        own_service(config, log, start.overrides, root) as service,
        own_process(log.with_suffix(".client.log")) as (executor, _),
    ):
        yield Running(replace(start, url=service.url), executor, service.process)
