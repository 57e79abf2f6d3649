"""Decode recordings in processes that are kept warm and can be killed: a stranger's file may crash a decoder, or keep it
busy for minutes, and a thread could not be stopped.

A worker that reaches a bound, crashes or loses its caller is ended, which costs that recording only, and another one is
forked in its place.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from queue import LifoQueue

from whisper_serve.audio.decode import DecodeOptions, as_audio
from whisper_serve.audio.decode_limits import MB, DecodeLimits
from whisper_serve.audio.decode_protocol import OUT_OF_MEMORY
from whisper_serve.audio.fork_server import ForkServer, Worker, WorkerLost
from whisper_serve.audio.source import Source
from whisper_serve.errors import BadAudio, TimedOut
from whisper_serve.types import Audio

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
        self._server = ForkServer()
        self._idle = LifoQueue[Worker | None]()  # None: to be forked; the warmest is taken
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
        options: DecodeOptions,
        cancellation: Cancellation | None = None,
    ) -> tuple[Audio, ...]:
        """Decode a recording, or each of its channels. Blocking: call it in a thread. More threads than workers wait for one.

        Raises what `decode.blocks` raises; BadAudio where decoding takes too much CPU time or memory, or crashes;
        TimedOut where it takes too long on the clock; CancelledError; Unavailable where no worker can be forked.
        """
        cancellation = cancellation or Cancellation()
        worker = self._idle.get()
        try:
            worker = self._server.living(worker)
            with cancellation.calling(worker.hang_up):
                pcm, channels = worker.decode(source, options, self._limits)
            return as_audio(pcm, channels, options.channels)
        except (WorkerLost, TimeoutError) as e:
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
