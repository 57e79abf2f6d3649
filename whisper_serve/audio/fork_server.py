"""The ingress's side of its decoding processes: the fork server, which it starts, and the workers that this forks.

The other side is decode_process.py; what they say to each other is in decode_protocol.py.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import cycle
from mmap import mmap

from whisper_serve.audio.decode import CHANNELS, DecodeOptions
from whisper_serve.audio.decode_limits import DecodeLimits
from whisper_serve.audio.decode_protocol import (
    ERRORS,
    HALF,
    HALF_BYTES,
    INBOX,
    INBOX_BYTES,
    LINE,
    READ,
    SHARED_BYTES,
    Job,
    Message,
    receive,
    send,
)
from whisper_serve.audio.source import Source, anonymous_file
from whisper_serve.errors import Unavailable
from whisper_serve.types import SAMPLE_RATE

START_S = 60.0  # for a fork server, on a busy machine
SAMPLE_BYTES = 4  # float32
BYTES_A_SECOND = SAMPLE_BYTES * SAMPLE_RATE
TOLERANCE_S = 60.0  # beyond its limit; a worker itself keeps to it exactly
# Passed on: no secrets.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
MARKS = ("WHISPER_SERVE_RUN", "WHISPER_SERVE_TEST_RUN")  # by which the processes of a run are found
SETTINGS = {
    # A process with threads cannot be forked safely.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # glibc would return memory after each recording, and have it cleared for the next.
    "MALLOC_TRIM_THRESHOLD_": "8000000",
    "MALLOC_MMAP_THRESHOLD_": "2000000",
}


class WorkerLost(Exception):
    """A worker ended, or what it says makes no sense."""


class Worker:
    """The ingress's side of one worker process."""

    def __init__(self, pid: int, sock: socket.socket, shared: int) -> None:
        self.pid = pid
        self.busy = False  # with a recording, also where it was lost over it
        self.status: int | None = None  # once it has been ended: its exit code, as subprocess has it
        self._sock = sock
        self._lines = sock.makefile("rb")
        self._memory = mmap(shared, SHARED_BYTES)

    def is_alive(self) -> bool:
        """Of an idle worker: it has nothing to say."""
        self._sock.settimeout(0)
        try:
            self._sock.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def hang_up(self) -> None:
        with suppress(OSError):  # it has ended
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._lines.close()
        self._sock.close()
        self._memory.close()

    def decode(self, source: Source, options: DecodeOptions, limits: DecodeLimits) -> tuple[bytearray, int]:
        """Samples, and of how many channels they are in turns.

        Raises BadRequest and TooLarge, as the worker says; WorkerLost, TimeoutError.
        """
        size = len(source.data)
        job = Job(
            size=size,
            options=options,
            cpu_s=limits.cpu(size),
            cpu_s_per_audio_s=limits.cpu_s_per_audio_s,
            memory=limits.memory(size),
        )
        with self._posted(source) as descriptors:
            self.busy = True
            try:
                send(self._sock, asdict(job), descriptors)
                received = self._receive(options.max_seconds, lambda decoded_s: limits.clock(size, decoded_s))
            except ConnectionError as e:
                raise WorkerLost from e
        self.busy = False
        return received

    @contextmanager
    def _posted(self, source: Source) -> Iterator[tuple[int, ...]]:
        """Put a small file into the inbox; of any other, the descriptor to send."""
        if isinstance(source.data, bytes) and len(source.data) <= INBOX_BYTES:
            self._memory[INBOX : INBOX + len(source.data)] = source.data
            yield ()
            return
        with source.descriptor() as fd:
            yield (fd,)

    def _receive(self, max_seconds: float, clock: Callable[[float], float]) -> tuple[bytearray, int]:
        """clock: the seconds it may take until so many have been decoded."""
        began, pcm = time.monotonic(), bytearray()
        for half in cycle((0, 1)):
            left_s = clock(len(pcm) / BYTES_A_SECOND) + began - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._sock.settimeout(left_s)
            message = self._answer()
            with memoryview(self._memory) as memory:
                pcm.extend(memory[half * HALF_BYTES :][: int(message["samples"]) * SAMPLE_BYTES])
            if message["end"]:
                break
            if len(pcm) > (max_seconds + TOLERANCE_S) * BYTES_A_SECOND:
                raise WorkerLost
            self._sock.sendall(READ)
        channels = int(message["channels"])
        if len(pcm) % (channels * SAMPLE_BYTES):
            raise WorkerLost
        return pcm, channels

    def _answer(self) -> Message:
        """The next one. Raises the error that it is; WorkerLost where there is none, or none that makes sense."""
        try:
            message: Message = json.loads(self._lines.readline(LINE))
            error = ERRORS[message["error"]](message["message"]) if "error" in message else None
            valid = error or (
                isinstance(message["end"], bool)
                and 0 <= int(message["samples"]) <= HALF
                and int(message["channels"]) in CHANNELS
            )
        except (ValueError, LookupError, TypeError) as e:
            raise WorkerLost from e
        if error:
            self.busy = False
            raise error
        if not valid:
            raise WorkerLost
        return message


class ForkServer:
    """The process that forks workers, started when it is first needed and whenever it was lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one question at a time
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None

    def living(self, worker: Worker | None) -> Worker:
        """The same one, or another where it has ended. Raises Unavailable."""
        if worker and worker.is_alive():
            return worker
        if worker:
            self.end(worker)
        try:
            return self._fork()
        except OSError:  # the fork server was lost
            self.stop()
        try:
            return self._fork()
        except OSError as e:
            raise Unavailable("no process can be started that decodes the recording") from e

    def end(self, worker: Worker) -> int:
        """Kill a worker, unless it has ended. Its exit code."""
        if worker.status is None:
            worker.close()
            try:
                worker.status = int(self._ask({"end": worker.pid})["status"])
            except OSError:  # the fork server was lost, and its workers with it
                worker.status = -signal.SIGKILL
        return worker.status

    def stop(self) -> None:
        with self._lock:
            if self._process and self._sock:
                self._sock.close()  # it ends, and its workers with it
                self._process.wait()
                self._process = self._sock = None

    def _fork(self) -> Worker:
        ours, theirs = socket.socketpair()
        shared = anonymous_file()
        try:
            os.ftruncate(shared, SHARED_BYTES)
            pid = self._ask({"fork": True}, (theirs.fileno(), shared))["pid"]
            return Worker(pid, ours, shared)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(shared)

    def _ask(self, message: Message, descriptors: tuple[int, ...] = ()) -> Message:
        """Raises OSError where the fork server is gone, or does not answer."""
        with self._lock:
            sock = self._sock or self._start()
            send(sock, message, descriptors)
            answer, _ = receive(sock)
        if not answer:
            raise ConnectionError("the fork server is gone")
        return answer

    def _start(self) -> socket.socket:
        self._sock, theirs = socket.socketpair()
        self._sock.settimeout(START_S)
        environment = {name: os.environ[name] for name in (*ENVIRONMENT, *MARKS) if name in os.environ}
        path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
        command = [sys.executable, "-m", "whisper_serve.audio.decode_process", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                env=environment | SETTINGS | {"PYTHONPATH": path},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return self._sock
