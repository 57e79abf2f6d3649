"""What runs in the processes that decode: a fork server, and the workers it forks. See decode_protocol.py.

The fork server has no threads and imports little, so that a worker is forked in milliseconds and shares most of its
memory. It ends with the process that started it, and its workers with it.

    python -m whisper_serve.audio.decode_process SOCKET    a descriptor
"""

import gc
import io
import os
import resource
import signal
import socket
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from whisper_serve.audio.confinement import confine, die_with_parent
from whisper_serve.audio.decode import DecodeOptions, blocks, decode
from whisper_serve.audio.decode_protocol import (
    HALF,
    INBOX,
    OUT_OF_MEMORY,
    SHARED_BYTES,
    Job,
    Message,
    receive,
    send,
)
from whisper_serve.audio.source import Contents
from whisper_serve.errors import BadAudio, BadRequest, TooLarge
from whisper_serve.types import SAMPLE_RATE, Samples

FILES = 2  # descriptors that a job takes: the file's, and its mapping's
STATM = Path("/proc/self/statm")  # Linux
PAGE = resource.getpagesize()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the service drains first
    warm_up()
    gc.freeze()  # a collection would write to what the workers share
    us = os.getpid()
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        while True:
            message, fds = receive(sock, 2)
            if not message:
                return
            if "end" in message:
                send(sock, {"status": end(message["end"])})
                continue
            pid = os.fork()
            if not pid:
                sock.close()
                work(socket.socket(fileno=fds[0]), fds[1], us)
            for fd in fds:
                os.close(fd)
            send(sock, {"pid": pid})


def warm_up() -> None:
    """Import and set up now what a worker, which may open no files, would need later."""
    file = io.BytesIO()
    with wave.open(file, "wb") as silence:
        silence.setparams((1, 2, 8_000, 0, "NONE", ""))
        silence.writeframes(bytes(1_000))
    decode(file.getvalue(), 1)
    with suppress(BadAudio):
        decode(b"no recording", 1)


def end(pid: int) -> int:
    """Kill a worker that may have ended. Its exit code; where a signal ended it, the negative number of that."""
    os.kill(pid, signal.SIGKILL)  # nobody else has its id until it is waited for
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def work(sock: socket.socket, shared: int, parent: int) -> NoReturn:
    """Decode one file after another, until the other side is gone."""
    try:
        die_with_parent(parent)
        memory = mmap(shared, SHARED_BYTES)
        os.close(shared)
        budget = Budget()
        confine(FILES)
        while (received := receive(sock, 1))[0]:
            job = as_job(received[0])
            with budget.for_job(job), posted(job, memory, received[1]) as (file, data):
                answer(job, file, data, Output(sock, memory, job))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except OSError:  # the other side is gone
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def as_job(message: Message) -> Job:
    options = message.pop("options")
    return Job(options=DecodeOptions(**options | {"accepted": tuple(options["accepted"])}), **message)


@contextmanager
def posted(job: Job, memory: mmap, descriptors: list[int]) -> Iterator[tuple[BinaryIO, Contents]]:
    """What is to be decoded: a file at its beginning, and what it holds."""
    if not descriptors:
        data = memory[INBOX : INBOX + job.size]
        yield io.BytesIO(data), data
        return
    with (
        open(descriptors[0], "rb", buffering=0) as file,
        mmap(descriptors[0], job.size, access=ACCESS_READ) as mapped,
    ):
        file.seek(0)
        yield file, mapped


def answer(job: Job, file: BinaryIO, data: Contents, output: "Output") -> None:
    """Raises MemoryError, and OSError where the other side is gone."""
    try:
        for block in blocks(file, data, job.options):
            output.write(block)
    except (BadRequest, TooLarge) as e:
        if isinstance(e.__cause__, MemoryError):  # as PyAV raises FFmpeg's ENOMEM
            raise MemoryError from e
        output.end({"error": type(e).__name__, "message": str(e)})
    else:
        output.end({"samples": output.filled, "channels": output.channels, "end": True})


class Output:
    """Samples on their way to the ingress, which may be one half of the memory behind."""

    def __init__(self, sock: socket.socket, memory: mmap, job: Job) -> None:
        self._sock, self._job = sock, job
        self._halves = np.frombuffer(memory, np.float32, 2 * HALF).reshape(2, HALF)
        self._half = self._unread = 0
        self.filled = 0  # samples in the half
        self.channels = 1

    def write(self, block: Samples) -> None:
        """Block: of shape (n, channels)."""
        self.channels, block = block.shape[1], block.ravel()
        signal.setitimer(
            signal.ITIMER_PROF,
            signal.getitimer(signal.ITIMER_PROF)[0] + self._job.cpu_s_per_audio_s * len(block) / SAMPLE_RATE,
        )
        while len(block):
            part = block[: HALF - self.filled]
            self._halves[self._half, self.filled : self.filled + len(part)] = part
            self.filled += len(part)
            block = block[len(part) :]
            if self.filled == HALF:
                self._send_half()

    def _send_half(self) -> None:
        send(self._sock, {"samples": self.filled, "channels": self.channels, "end": False})
        self._half, self.filled = 1 - self._half, 0
        self._unread += 1
        if self._unread == 2:
            self._wait()

    def _wait(self) -> None:
        if not self._sock.recv(1):
            raise OSError("the other side is gone")
        self._unread -= 1

    def end(self, message: Message) -> None:
        while self._unread:
            self._wait()
        send(self._sock, message)


class Budget:
    """The CPU time and memory of a worker, as the kernel limits them."""

    def __init__(self) -> None:
        self._statm = STATM.open("rb", buffering=0) if STATM.exists() else None

    @contextmanager
    def for_job(self, job: Job) -> Iterator[None]:
        """Beyond the CPU time, SIGPROF ends this process; beyond the memory, allocations fail."""
        signal.setitimer(signal.ITIMER_PROF, job.cpu_s)
        if self._statm:
            used = int(os.pread(self._statm.fileno(), 200, 0).split()[5]) * PAGE
            resource.setrlimit(resource.RLIMIT_DATA, (used + job.memory, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
