"""Decode recordings in processes that are kept warm and can be killed: a stranger's file may crash a decoder, or keep it
busy for minutes, and a thread could not be stopped.

One fork server (decode_process.py) for each pool makes the workers. A worker that reaches a bound, crashes or loses
its caller is ended, which costs that recording only, and another one is forked in its place.
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
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import cycle
from mmap import mmap
from queue import LifoQueue

from whisper_serve.audio.containers import ANY
from whisper_serve.audio.decode import as_audio
from whisper_serve.audio.decode_limits import MB, DecodeLimits
from whisper_serve.audio.decode_protocol import (
    ERRORS,
    HALF,
    HALF_BYTES,
    INBOX,
    INBOX_BYTES,
    LINE,
    OUT_OF_MEMORY,
    READ,
    SHARED_BYTES,
    Job,
    Message,
    receive,
    send,
)
from whisper_serve.audio.source import Source, anonymous_file
from whisper_serve.errors import BadAudio, TimedOut, Unavailable
from whisper_serve.types import SAMPLE_RATE, Audio

START_S = 60.0  # for a fork server, on a busy machine
SAMPLE_BYTES = 4  # float32
BYTES_A_SECOND = SAMPLE_BYTES * SAMPLE_RATE
TOLERANCE_S = 60.0  # beyond its limit; a worker itself keeps to it exactly
ENVIRONMENT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
)  # passed on: no secrets
MARKS = ("WHISPER_SERVE_RUN", "WHISPER_SERVE_TEST_RUN")  # by which the processes of a run are found
SETTINGS = {
    # A process with threads cannot be forked safely.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # glibc would return memory after each recording, and have it cleared for the next.
    "MALLOC_TRIM_THRESHOLD_": "8000000",
    "MALLOC_MMAP_THRESHOLD_": "2000000",
}
REASONS = {-signal.SIGPROF: "cpu", OUT_OF_MEMORY: "memory"}  # by exit code


class Cancellation:
    """Tells a thread that nobody waits for its result any more. `cancel` may be called from any other thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self.cancelled = False

    def cancel(self) -> None:
        with self._lock:
            self.cancelled = True
            if self._stop:
                self._stop()

    @contextmanager
    def calling(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have `cancel` call `stop` while the block runs. Raises CancelledError where it was called before."""
        with self._lock:
            if self.cancelled:
                raise CancelledError
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None


class DecodeWorkers:
    """`count` worker processes, each of which decodes one recording at a time.

    killed: called with a reason for each worker that was lost with its recording: cpu, memory, clock, crash, left.
    """

    def __init__(
        self,
        count: int,
        limits: DecodeLimits | None = None,
        killed: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._count = count
        self._limits = limits or DecodeLimits()
        self._killed = killed
        self._server = _ForkServer()
        self._idle = LifoQueue[_Worker | None]()  # None: to be forked; the warmest is taken
        for _ in range(count):
            self._idle.put(None)

    def start(self, warm: int) -> None:
        """Fork so many workers; the others are forked when they are needed. Raises Unavailable where that fails."""
        for _ in range(warm):
            self._idle.get()
        for _ in range(warm):
            self._idle.put(self._server.living(None))

    def close(self) -> None:
        """End all processes. Nothing may be decoded meanwhile, or later."""
        self._server.stop()
        for _ in range(self._count):
            if worker := self._idle.get():
                worker.close()

    def decode(
        self,
        source: Source,
        max_seconds: float,
        accepted: tuple[str, ...] = (ANY,),
        cancellation: Cancellation | None = None,
    ) -> Audio:
        """Decode a recording. Blocking: call it in a thread. More threads than workers wait for one.

        Raises what `decode.blocks` raises; BadAudio where decoding takes too much CPU time or memory, or crashes;
        TimedOut where it takes too long on the clock; CancelledError; Unavailable where no worker can be forked.
        """
        cancellation = cancellation or Cancellation()
        worker = self._idle.get()
        try:
            worker = self._server.living(worker)
            with cancellation.calling(worker.hang_up):
                return worker.decode(source, max_seconds, accepted, self._limits)
        except (_WorkerLost, TimeoutError) as e:
            assert worker
            status = self._server.end(worker)
            reason = "clock" if isinstance(e, TimeoutError) else REASONS.get(status, "crash")
            reason = "left" if cancellation.cancelled else reason
            self._killed(reason)
            raise self._error(reason, len(source.data)) from e
        finally:
            if worker and worker.busy:  # whatever happened, it is in the middle of a recording
                self._server.end(worker)
                worker = None
            self._idle.put(worker)

    def _error(self, reason: str, size: int) -> Exception:
        limits = self._limits
        if reason == "left":
            return CancelledError()
        if reason == "clock":
            return TimedOut(f"decoding took more than {limits.clock(size):.0f} s: the service is too busy")
        cpu_s, audio_s = limits.cpu(size), limits.cpu_s_per_audio_s
        why = {
            "cpu": f"it takes more than {cpu_s:.1f} s of CPU time, and {audio_s:g} s for each second of sound",
            "memory": f"it takes more than {limits.memory(size) / MB:.0f} MB of memory",
        }
        return BadAudio(
            f"the file cannot be decoded: {why.get(reason, 'the decoder crashed on it')}; convert it first"
        )


class _WorkerLost(Exception):
    """It ended, or what it says makes no sense."""


class _Worker:
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

    def decode(
        self, source: Source, max_seconds: float, accepted: tuple[str, ...], limits: DecodeLimits
    ) -> Audio:
        """Raises BadAudio and TooLarge, as the worker says; _WorkerLost, TimeoutError."""
        size = len(source.data)
        job = Job(
            size=size,
            max_seconds=max_seconds,
            accepted=accepted,
            cpu_s=limits.cpu(size),
            cpu_s_per_audio_s=limits.cpu_s_per_audio_s,
            memory=limits.memory(size),
        )
        with self._posted(source) as descriptors:
            self.busy = True
            try:
                send(self._sock, asdict(job), descriptors)
                pcm = self._receive(max_seconds, lambda decoded_s: limits.clock(size, decoded_s))
            except ConnectionError as e:
                raise _WorkerLost from e
        self.busy = False
        return as_audio(pcm)

    @contextmanager
    def _posted(self, source: Source) -> Iterator[tuple[int, ...]]:
        """Put a small file into the inbox; of any other, the descriptor to send."""
        if isinstance(source.data, bytes) and len(source.data) <= INBOX_BYTES:
            self._memory[INBOX : INBOX + len(source.data)] = source.data
            yield ()
            return
        with source.descriptor() as fd:
            yield (fd,)

    def _receive(self, max_seconds: float, clock: Callable[[float], float]) -> bytearray:
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
                raise _WorkerLost
            self._sock.sendall(READ)
        return pcm

    def _answer(self) -> Message:
        """The next one. Raises the error that it is; _WorkerLost where there is none, or none that makes sense."""
        try:
            message: Message = json.loads(self._lines.readline(LINE))
            error = ERRORS[message["error"]](message["message"]) if "error" in message else None
            valid = error or (isinstance(message["end"], bool) and 0 <= int(message["samples"]) <= HALF)
        except (ValueError, LookupError, TypeError) as e:
            raise _WorkerLost from e
        if error:
            self.busy = False
            raise error
        if not valid:
            raise _WorkerLost
        return message


class _ForkServer:
    """The process that forks workers, started when it is first needed and whenever it was lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one question at a time
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None

    def living(self, worker: _Worker | None) -> _Worker:
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

    def end(self, worker: _Worker) -> int:
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

    def _fork(self) -> _Worker:
        ours, theirs = socket.socketpair()
        shared = anonymous_file()
        try:
            os.ftruncate(shared, SHARED_BYTES)
            pid = self._ask({"fork": True}, (theirs.fileno(), shared))["pid"]
            return _Worker(pid, ours, shared)
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
