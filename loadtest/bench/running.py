"""How to start a peer in; leave to give it work, and what the work took, out."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from loadtest.bench.child import READY
from loadtest.bench.meter import Meter
from loadtest.bench.samples import Done, Start, Take, Work
from loadtest.errors import CannotRun
from loadtest.service import own_service

STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a piece of work gave, and what it took."""

    takes: tuple[Take, ...]
    wall_s: float
    cpu_s: float  # of the peer and all it started
    peak_mb: float
    client_cpu: float | None  # share of one core the client took; None: there was none


class Running:
    """A peer that is ready, behind a child process that asks it."""

    def __init__(self, child: "subprocess.Popen[str]", service: Sequence[psutil.Process]) -> None:
        self._child = child
        self._service = service

    def hear(self, work: Work, tell: Callable[[Take], None]) -> Measured:
        """Do a piece of work; `tell` hears of every clip. Raises CannotRun."""
        takes = []
        with Meter(self._service or [psutil.Process(self._child.pid)]) as meter:
            say(self._child, work.as_json())
            while "wall_s" not in (told := answer(self._child)):
                takes.append(Take(**told))
                tell(takes[-1])
        done = Done(**told)
        client = done.cpu_s / done.wall_s if self._service else None
        return Measured(tuple(takes), done.wall_s, meter.cpu_s, meter.peak_mb, client)


@contextmanager
def running(start: Start, config: Path, root: Path, log: Path) -> Iterator[Running]:
    """A peer, until the block is left. Raises CannotRun where it cannot be had."""
    if start.kind != "service":
        with child(start, root, log) as process:
            yield Running(process, ())
        return
    with tempfile.TemporaryDirectory() as folder:
        file, before = Path(folder, "config.json"), services()
        fields = json.loads(config.read_text(encoding="utf-8"))
        file.write_text(json.dumps(changed(fields, start.overrides)), encoding="utf-8")
        with own_service(file, root, log) as url:
            own = [process for process in services() if process not in before]
            with child(replace(start, url=url), root, log.with_suffix(".client.log")) as process:
                yield Running(process, own)


@contextmanager
def child(start: Start, root: Path, log: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "loadtest.bench.child"]
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        say(process, start.as_json())
        if READY not in answer(process):
            raise CannotRun(f"{start.kind} did not say that it was ready")
        yield process
    except ChildEnded as e:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise CannotRun(f"{start.kind}: {' '.join(tail) or f'ended with {process.wait()}'}") from e
    finally:
        process.kill()
        process.communicate(timeout=STOP_S)


class ChildEnded(Exception):
    """It was to answer, and is gone."""


def say(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin
    try:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    except BrokenPipeError as e:
        raise ChildEnded from e


def answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise ChildEnded
    told: dict[str, Any] = json.loads(line)
    return told


def services() -> list[psutil.Process]:
    """The services this process has started."""
    return [process for process in psutil.Process().children() if "main.py" in process.cmdline()]


def changed(fields: Mapping[str, Any], overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A config file's fields with some of its settings replaced."""
    return {**fields, **{section: {**fields.get(section, {}), **new} for section, new in overrides.items()}}
