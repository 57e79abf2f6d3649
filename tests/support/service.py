"""The service as a process of its own, for tests: started on a free port, stopped with all it started."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from loadtest.common.service import free_port
from whisper_serve.engines import FAKE_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
MARK = "WHISPER_SERVE_TEST_RUN"  # in the environment of every process that a test's service starts
START_S, STOP_S = 180, 60
FAKE_ENGINE = "tests.support.misbehaving_engine:MisbehavingEngine"
FAKE = {"MODEL__ENGINE": "fake", "VAD__METHOD": "off", "QUALITY__FILTERS": "[]"}  # settings


class Running:
    """A started `python main.py`, or `make run`."""

    def __init__(self, command: list[str], env: dict[str, str], port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.env = env
        self.mark = env[MARK]
        self.lines: list[str] = []
        self.ready = threading.Event()
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line)
                if "is ready" in line:
                    self.ready.set()
        self.ready.set()  # ended: nothing more to wait for

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_until_ready(self) -> "Running":
        assert self.ready.wait(START_S), f"not ready after {START_S} s:\n{self.output}"
        assert self.process.poll() is None, self.output
        return self

    def client(self, timeout_s: float = 300) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=timeout_s)

    def signal(self, number: int) -> None:
        main = [p for p in psutil.Process(self.process.pid).children() if "main.py" in command_of(p)]
        os.kill(main[0].pid if main else self.process.pid, number)

    def wait(self, timeout_s: float = STOP_S) -> int:
        code = self.process.wait(timeout_s)
        self.reader.join(timeout=5)
        return code

    def processes(self) -> list[psutil.Process]:
        """Every process that carries this service's mark."""
        return [p for p in psutil.process_iter() if mark_of(p) == self.mark]

    def end(self) -> None:
        """Stop it if it still runs, and whatever it left."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
        for process in self.processes():
            process.kill()
        self.process.wait(STOP_S)
        self.reader.join(timeout=5)


def mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK) if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def command_of(process: psutil.Process) -> list[str]:
    """Empty where it has ended."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def memory_mb(service: Running) -> float:
    """Of all its processes, what they share counted once."""
    sizes = []
    for process in service.processes():
        with suppress(psutil.Error):  # it just ended
            sizes.append(float(process.memory_full_info().pss))
    return sum(sizes) / 1e6


def wait_until(holds: Callable[[], object], timeout_s: float = 30) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until, f"not so after {timeout_s} s"
        time.sleep(0.05)


@contextmanager
def started(settings: Mapping[str, str], *command: str, **variables: str) -> Iterator[Running]:
    """The service with these settings, such as {"MODEL__ENGINE": "fake"}, over the shipped config's.

    variables: more of its environment, such as HOME="/nonexistent".
    """
    port = int(settings.get("SERVER__PORT", free_port()))
    defaults = {
        "SERVER__HOST": "127.0.0.1",
        "SERVER__PORT": str(port),
        "SERVER__DASHBOARD": "false",
        "LOGGING__FILE": "null",
    }
    env = os.environ | {MARK: uuid.uuid4().hex, FAKE_VARIABLE: FAKE_ENGINE}
    env |= {f"WHISPER_SERVE__{name}": value for name, value in {**defaults, **settings}.items()} | variables
    running = Running([*command] or [sys.executable, "main.py"], env, port)
    try:
        yield running
    finally:
        running.end()
