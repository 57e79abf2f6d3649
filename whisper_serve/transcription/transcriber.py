"""The story of a request, told once: bytes in, a transcript out, whole or as it becomes known.

Knows no HTTP, no Ray and no engine: what hears a window is a function it is given.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean
from typing import TypeVar

import numpy as np

from whisper_serve.audio import vad
from whisper_serve.audio.decode import decode, from_pcm
from whisper_serve.config.load import Config
from whisper_serve.errors import ModelFailed, TimedOut
from whisper_serve.telemetry import tracing
from whisper_serve.text import filters
from whisper_serve.transcription import deadline
from whisper_serve.transcription.admission import Admission, Bounds, Reservation
from whisper_serve.transcription.temperature_fallback import Infer, hear
from whisper_serve.types import (
    SAMPLE_RATE,
    Audio,
    Dropped,
    Gap,
    Options,
    Segment,
    Timings,
    Transcript,
    Window,
    WindowResult,
)

T = TypeVar("T")

BYTES_A_SECOND = 2 * SAMPLE_RATE  # of a plain WAV: a guess at a length until the file is decoded


@dataclass(frozen=True, slots=True)
class Recording:
    """Decoded and cut, ready to be heard."""

    windows: tuple[Window, ...]
    duration: float
    options: Options
    decode_s: float  # what decoding and cutting took
    reservation: Reservation | None = None  # where the queue is bounded
    until: float = inf  # moment of time.monotonic() by which all must be heard


@dataclass(frozen=True, slots=True)
class Step:
    """What one more window added, in the order of the recording."""

    done: float  # share of the recording now behind us, 0 to 1
    heard: WindowResult | None = None  # as the model gave it; None for a gap
    segments: tuple[Segment, ...] = ()  # what the filters kept, timed from the start of the recording
    dropped: tuple[Dropped, ...] = ()
    gap: Gap | None = None
    queue_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one window: what was heard, or the gap it leaves."""

    window: Window
    heard: WindowResult | None = None
    gap: Gap | None = None
    queue_s: float = 0.0


class Transcriber:
    """One stands in each ingress. `admission` bounds what its requests may take together."""

    def __init__(self, config: Config, infer: Infer, admission: Admission | None = None) -> None:
        self.config = config
        self.infer = infer
        self.admission = admission or Admission(Bounds())
        self._lines = filters.FilterSettings(
            loop_ratio=config.quality.compression_ratio_threshold,
            no_speech_prob=config.quality.no_speech_threshold,
            low_logprob=config.quality.logprob_threshold,
        )
        self._window_s = config.model.window_s
        self._decoders = ThreadPoolExecutor(config.server.max_decodes, "decode")

    def warm_up(self) -> None:
        """Load what the first recording would wait for."""
        vad.windows(Audio(np.zeros(SAMPLE_RATE, np.float32)), self.config.vad.options())

    async def transcribe(self, data: bytes, options: Options, caller: str = "") -> Transcript:
        """Hear all of it. Raises what `admitted` does, and what `infer` raises."""
        async with self.admitted(data, options, caller) as recording:
            return collect(recording, [step async for step in self.steps(recording)])

    async def detect(self, data: bytes, options: Options, caller: str = "") -> WindowResult | None:
        """What language the first speech is in; None where nobody speaks."""
        async with self.admitted(data, options, caller) as recording:
            if not recording.windows:
                return None
            deadline.end_at(recording.until)
            return await in_time(self.infer(recording.windows[0]), recording.until)

    @asynccontextmanager
    async def admitted(self, data: bytes, options: Options, caller: str) -> AsyncIterator[Recording]:
        """Find room for it, then decode and cut; its reservation and its time run out with the block.

        Raises Overloaded before it is decoded where that much can be told, TimedOut, BadRequest, TooLarge.
        """
        server, began = self.config.server, time.monotonic()
        with self.admission.reservation(caller) as reservation:
            reservation.reserve(len(data) / BYTES_A_SECOND)
            recording = await in_time(self.open(data, options), began + server.request_timeout_s)
            del data
            at_once = (server.max_parallel_windows or 1) if options.use_parallel else 1
            unheard = sum(window.seconds for window in recording.windows)
            reservation.update(recording.duration, unheard, at_once * self._window_s)
            allowed = server.request_timeout_s + server.request_timeout_per_audio_s * recording.duration
            yield replace(recording, reservation=reservation, until=began + allowed)

    async def open(self, data: bytes, options: Options) -> Recording:
        """Decode and cut. What is wrong with the bytes is raised here, before a byte is answered."""
        began = time.perf_counter()
        loop = asyncio.get_running_loop()
        with tracing.span("decode", bytes=len(data)):
            audio, spans = await loop.run_in_executor(self._decoders, self._cut, data, options)
        windows = tuple(Window(audio.samples[s.start : s.end], s.start / SAMPLE_RATE, options) for s in spans)
        return Recording(windows, audio.seconds, options, time.perf_counter() - began)

    def _cut(self, data: bytes, options: Options) -> tuple[Audio, list[vad.Span]]:
        longest = self.config.server.max_audio_s
        if options.headerless:
            audio = from_pcm(data, longest)
        else:
            audio = decode(data, longest, self.config.model.supported_formats)
        return audio, vad.windows(audio, options.vad or self.config.vad.options(), self._window_s)

    async def steps(self, recording: Recording) -> AsyncGenerator[Step, None]:
        """Hear the windows, several at once; yield what each adds, in order.

        Where the language is to be detected, it is that of the first window with words that are kept. What
        begins later is told; what began before, and found another language, is heard again.
        """
        waiting, running = deque(recording.windows), deque[asyncio.Task[Outcome]]()
        language, last = recording.options.language, None
        try:
            while waiting or running:
                if not (running and running[0].done()):
                    while waiting and len(unheard(running)) < self._room(recording.options):
                        attempt = self._attempt(told(waiting.popleft(), language), recording.until)
                        running.append(asyncio.create_task(attempt))
                    some = asyncio.wait(unheard(running), return_when=asyncio.FIRST_COMPLETED)
                    await in_time(some, recording.until)
                    continue
                outcome = running.popleft().result()
                if language and astray(outcome, language):
                    again = self._attempt(told(outcome.window, language), recording.until)
                    outcome = await in_time(again, recording.until)
                if recording.reservation:
                    recording.reservation.transcribed(outcome.window.seconds)
                step = self._step(outcome, last, recording)
                language = language or (step.heard.language if step.heard and step.segments else None)
                last = step.segments[-1] if step.segments else last
                yield step
        finally:  # the caller may be gone, or a window may have failed
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _room(self, options: Options) -> int:
        return (self.config.server.max_parallel_windows or 1) if options.use_parallel else 1

    async def _attempt(self, window: Window, until: float) -> Outcome:
        began = time.perf_counter()
        deadline.end_at(until)  # in this task, and where its window goes
        try:
            with tracing.span("window", start=window.start, seconds=window.seconds):
                heard = await hear(window, self.infer, self.config.quality)
        except ModelFailed as e:
            where = f"{window.start:.1f} to {window.start + window.seconds:.1f} s"
            if not window.options.allow_partial:
                raise ModelFailed(f"{where} could not be heard: {e}") from e
            return Outcome(window, gap=Gap(window.start, window.start + window.seconds, str(e)))
        return Outcome(window, heard, queue_s=max(0.0, time.perf_counter() - began - heard.batch_inference_s))

    def _step(self, outcome: Outcome, last: Segment | None, recording: Recording) -> Step:
        done = min(1.0, (outcome.window.start + outcome.window.seconds) / recording.duration)
        kept, dropped = self._clean(outcome, last) if outcome.heard else ([], [])
        return Step(done, outcome.heard, tuple(kept), tuple(dropped), outcome.gap, outcome.queue_s)

    def _clean(self, outcome: Outcome, last: Segment | None) -> tuple[list[Segment], list[Dropped]]:
        """Filter segment by segment, each beside the last one kept."""
        assert outcome.heard
        language = "en" if outcome.window.options.task == "translate" else outcome.heard.language
        kept: list[Segment] = []
        dropped: list[Dropped] = []
        for heard in outcome.heard.segments:
            segment = shift(heard, outcome.window.start)
            before = kept[-1] if kept else last
            reason = filters.clean(segment, before, language, self.config.quality.filters, self._lines)
            if reason:
                dropped.append(Dropped(segment, reason))
            else:
                kept.append(segment)
        return kept, dropped


async def in_time(work: Awaitable[T], until: float) -> T:
    """Wait for it; cancel it and raise TimedOut at that moment of time.monotonic()."""
    left = None if until == inf else until - time.monotonic()
    try:
        return await asyncio.wait_for(work, left)
    except asyncio.TimeoutError as e:
        raise TimedOut(
            "it took longer than a request of its length may; try again when less is waiting"
        ) from e


def unheard(running: Iterable["asyncio.Task[Outcome]"]) -> list["asyncio.Task[Outcome]"]:
    return [task for task in running if not task.done()]


def astray(outcome: Outcome, language: str) -> bool:
    """Whether it was heard in a language of its own."""
    guessed = outcome.window.options.language is None
    return guessed and outcome.heard is not None and outcome.heard.language != language


def told(window: Window, language: str | None) -> Window:
    return replace(window, options=replace(window.options, language=language))


def shift(segment: Segment, seconds: float) -> Segment:
    words = tuple(replace(w, start=w.start + seconds, end=w.end + seconds) for w in segment.words)
    return replace(segment, start=segment.start + seconds, end=segment.end + seconds, words=words)


def collect(recording: Recording, steps: Iterable[Step]) -> Transcript:
    """The whole of what the steps said."""
    steps = list(steps)
    heard = [step.heard for step in steps if step.heard]
    spoken = next((step.heard for step in steps if step.heard and step.segments), None)
    return Transcript(
        segments=tuple(segment for step in steps for segment in step.segments),
        duration=recording.duration,
        language=spoken.language if spoken else recording.options.language,
        language_probability=spoken.language_probability if spoken else 0.0,
        task=recording.options.task,
        dropped=tuple(dropped for step in steps for dropped in step.dropped),
        gaps=tuple(step.gap for step in steps if step.gap),
        windows=len(recording.windows),
        timings=Timings(
            decode_s=recording.decode_s,
            queue_s=max((step.queue_s for step in steps), default=0.0),
            inference_s=sum(h.inference_s for h in heard),
            batch_windows=fmean(h.batch_windows for h in heard) if heard else 0.0,
            batch_audio_s=fmean(h.batch_audio_s for h in heard) if heard else 0.0,
        ),
        gpu_memory_gb=max((h.gpu_memory_gb for h in heard), default=0.0),
    )
