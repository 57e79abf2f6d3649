"""The story of a request, told once: bytes in, a transcript out, whole or as it becomes known.

Knows no HTTP, no Ray and no engine: what hears a window is a function it is given.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from whisper_serve import filters, vad
from whisper_serve.audio import decode, from_pcm
from whisper_serve.config import Config
from whisper_serve.errors import ModelFailed
from whisper_serve.types import (
    SAMPLE_RATE,
    Audio,
    Dropped,
    Heard,
    Hole,
    Options,
    Segment,
    Timings,
    Transcript,
    Window,
)

Infer = Callable[[Window], Awaitable[Heard]]


@dataclass(frozen=True, slots=True)
class Recording:
    """Decoded and cut, ready to be heard."""

    windows: tuple[Window, ...]
    duration: float
    options: Options
    decode_s: float  # what decoding and cutting took


@dataclass(frozen=True, slots=True)
class Step:
    """What one more window added, in the order of the recording."""

    done: float  # share of the recording now behind us, 0 to 1
    heard: Heard | None = None  # as the model gave it; None for a hole
    segments: tuple[Segment, ...] = ()  # what the filters kept, timed from the start of the recording
    dropped: tuple[Dropped, ...] = ()
    hole: Hole | None = None
    queue_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one window: what was heard, or the hole it leaves."""

    window: Window
    heard: Heard | None = None
    hole: Hole | None = None
    queue_s: float = 0.0


class Transcriber:
    def __init__(self, config: Config, infer: Infer) -> None:
        self.config = config
        self.infer = infer

    def warm_up(self) -> None:
        """Load what the first recording would wait for."""
        vad.windows(Audio(np.zeros(SAMPLE_RATE, np.float32)), self.config.vad.options())

    async def transcribe(self, data: bytes, options: Options) -> Transcript:
        """Hear all of it. Raises BadRequest, TooLarge, and what `infer` raises."""
        recording = await self.open(data, options)
        return collect(recording, [step async for step in self.steps(recording)])

    async def detect(self, data: bytes, options: Options) -> Heard | None:
        """What language the first speech is in; None where nobody speaks."""
        recording = await self.open(data, options)
        return await self.infer(recording.windows[0]) if recording.windows else None

    async def open(self, data: bytes, options: Options) -> Recording:
        """Decode and cut. What is wrong with the bytes is raised here, before a byte is answered."""
        began = time.perf_counter()
        audio, spans = await asyncio.to_thread(self._cut, data, options)
        windows = tuple(Window(audio.samples[s.start : s.end], s.start / SAMPLE_RATE, options) for s in spans)
        return Recording(windows, audio.seconds, options, time.perf_counter() - began)

    def _cut(self, data: bytes, options: Options) -> tuple[Audio, list[vad.Span]]:
        longest = self.config.server.max_audio_s
        if options.headerless:
            audio = from_pcm(data, longest)
        else:
            audio = decode(data, longest, self.config.model.supported_formats)
        return audio, vad.windows(audio, options.vad or self.config.vad.options())

    async def steps(self, recording: Recording) -> AsyncGenerator[Step, None]:
        """Hear the windows, several at once; yield what each adds, in order.

        Where the language is to be detected, the first window is heard alone
        and the others are told what it found.
        """
        waiting, running = deque(recording.windows), deque[asyncio.Task[Outcome]]()
        language, last = recording.options.language, None
        try:
            while waiting or running:
                while waiting and len(running) < self._room(recording.options, language):
                    running.append(asyncio.create_task(self._attempt(told(waiting.popleft(), language))))
                outcome = await running[0]
                running.popleft()
                language = language or (outcome.heard.language if outcome.heard else None)
                step = self._step(outcome, last, recording)
                last = step.segments[-1] if step.segments else last
                yield step
        finally:  # the caller may be gone, or a window may have failed
            for task in running:
                task.cancel()

    def _room(self, options: Options, language: str | None) -> int:
        return (self.config.server.max_parallel_windows or 1) if options.use_parallel and language else 1

    async def _attempt(self, window: Window) -> Outcome:
        began = time.perf_counter()
        try:
            heard = await self._hear(window)
        except ModelFailed as e:
            where = f"{window.start:.1f} to {window.start + window.seconds:.1f} s"
            if not window.options.allow_partial:
                raise ModelFailed(f"{where} could not be heard: {e}") from e
            return Outcome(window, hole=Hole(window.start, window.start + window.seconds, str(e)))
        return Outcome(window, heard, queue_s=max(0.0, time.perf_counter() - began - heard.pass_s))

    async def _hear(self, window: Window) -> Heard:
        """One window, warmer each time its text looks wrong (openai-whisper's temperature fallback)."""
        heard = await self.infer(window)
        share, whole = heard.inference_s, heard.pass_s
        for temperature in self._ladder(window.options):
            if not self._looks_wrong(heard):
                break
            options = replace(window.options, temperature=temperature, language=heard.language)
            heard = await self.infer(replace(window, options=options))
            share, whole = share + heard.inference_s, whole + heard.pass_s
        return replace(heard, inference_s=share, pass_s=whole)

    def _ladder(self, options: Options) -> tuple[float, ...]:
        return tuple(t for t in self.config.quality.temperatures if t > 0) if options.temperature == 0 else ()

    def _looks_wrong(self, heard: Heard) -> bool:
        """Text that repeats itself or is unlikely, though something was said.

        In silence and noise a warmer try would only invent other words.
        """
        quality = self.config.quality
        return any(
            s.no_speech_prob <= quality.no_speech_threshold
            and (
                s.compression_ratio > quality.compression_ratio_threshold
                or s.avg_logprob < quality.logprob_threshold
            )
            for s in heard.segments
        )

    def _step(self, outcome: Outcome, last: Segment | None, recording: Recording) -> Step:
        done = min(1.0, (outcome.window.start + outcome.window.seconds) / recording.duration)
        kept, dropped = self._clean(outcome, last) if outcome.heard else ([], [])
        return Step(done, outcome.heard, tuple(kept), tuple(dropped), outcome.hole, outcome.queue_s)

    def _clean(self, outcome: Outcome, last: Segment | None) -> tuple[list[Segment], list[Dropped]]:
        """Filter segment by segment, each beside the last one kept."""
        assert outcome.heard
        language = "en" if outcome.window.options.task == "translate" else outcome.heard.language
        kept: list[Segment] = []
        dropped: list[Dropped] = []
        for heard in outcome.heard.segments:
            segment = shift(heard, outcome.window.start)
            reason = filters.clean(segment, kept[-1] if kept else last, language, self.config.quality.filters)
            if reason:
                dropped.append(Dropped(segment, reason))
            else:
                kept.append(segment)
        return kept, dropped


def told(window: Window, language: str | None) -> Window:
    return replace(window, options=replace(window.options, language=language))


def shift(segment: Segment, seconds: float) -> Segment:
    words = tuple(replace(w, start=w.start + seconds, end=w.end + seconds) for w in segment.words)
    return replace(segment, start=segment.start + seconds, end=segment.end + seconds, words=words)


def collect(recording: Recording, steps: Iterable[Step]) -> Transcript:
    """The whole of what the steps said."""
    steps = list(steps)
    heard = [step.heard for step in steps if step.heard]
    return Transcript(
        segments=tuple(segment for step in steps for segment in step.segments),
        duration=recording.duration,
        language=heard[0].language if heard else recording.options.language,
        language_probability=heard[0].language_probability if heard else 0.0,
        task=recording.options.task,
        dropped=tuple(dropped for step in steps for dropped in step.dropped),
        holes=tuple(step.hole for step in steps if step.hole),
        windows=len(recording.windows),
        timings=Timings(
            decode_s=recording.decode_s,
            queue_s=max((step.queue_s for step in steps), default=0.0),
            inference_s=sum(h.inference_s for h in heard),
        ),
        gpu_memory_gb=max((h.gpu_memory_gb for h in heard), default=0.0),
    )
