"""Meter of a process and all that it started: CPU time, and memory with shared pages counted once (PSS)."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import psutil

EVERY_S = 5.0  # measuring all of Ray's processes takes 70 ms of CPU time
MODEL, INGRESS, PROXY, CONTROLLER = "model", "ingress", "proxy", "controller"
OTHERS = "the rest of Ray"
DECODER = "whisper_serve.audio.decode_process"  # in the command line of those, which belong to an ingress
ROLES = {  # start of a process's name -> its role
    "ray::ServeReplica:default:Model": MODEL,
    "ray::ServeReplica:default:Ingress": INGRESS,
    "ray::ProxyActor": PROXY,
    "ray::ServeController": CONTROLLER,
}


class Meter:
    """Measures while its block runs, every few seconds; what a process used after the last time before its end is lost."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._before: dict[psutil.Process, float] = {}
        self._now: dict[psutil.Process, tuple[str, float]] = {}  # role, CPU seconds since it began
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.memory: list[tuple[float, dict[str, float]]] = []  # seconds since the start, 1e6 bytes by role

    @property
    def cpu_s(self) -> dict[str, float]:
        """User and system time in the block, by role; of a process that began in it, all it took."""
        used = dict.fromkeys([*ROLES.values(), OTHERS], 0.0)
        for process, (role, taken) in self._now.items():
            used[role] += taken - self._before.get(process, 0.0)
        return used

    @property
    def peak_mb(self) -> float:
        return max(sum(by_role.values()) for _, by_role in self.memory)

    def __enter__(self) -> "Meter":
        self._measure()
        self._before = {process: taken for process, (_, taken) in self._now.items()}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._measure()

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._measure()

    def _measure(self) -> None:
        memory: dict[str, float] = {}
        for process in family(self._root):
            try:
                command = process.cmdline()
                times, size = process.cpu_times(), process.memory_full_info()
            except psutil.Error:  # it ended, or is another user's
                continue
            name = "".join(command[:1])
            role = next((role for start, role in ROLES.items() if name.startswith(start)), OTHERS)
            role = INGRESS if DECODER in command else role
            self._now[process] = (role, times.user + times.system)
            memory[role] = memory.get(role, 0.0) + getattr(size, "pss", size.rss) / 1e6
        self.memory.append((time.monotonic() - self._began, memory))


def family(root: psutil.Process) -> list[psutil.Process]:
    """The process and all that descend from it; empty once it has ended."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


@contextmanager
def own_process(log: Path) -> Iterator[tuple[Executor, psutil.Process]]:
    """One fresh worker process, whose output goes to a file; an error in the block does not wait for its work."""
    executor = ProcessPoolExecutor(1, get_context("spawn"), _write_to, (log,))
    worker = psutil.Process(executor.submit(os.getpid).result())
    try:
        yield executor, worker
    except BaseException:
        worker.kill()
        raise
    finally:
        executor.shutdown()


def _write_to(log: Path) -> None:
    """Send what this process and its libraries print to a file."""
    with log.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
