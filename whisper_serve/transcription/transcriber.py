"""Transcribe a recording: decode it, split it into windows, transcribe these and join the results in order.

Knows no HTTP, no Ray and no engine: it is given the function that transcribes one window (`Infer`).
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import numpy as np

from whisper_serve.audio import vad
from whisper_serve.audio.decode import DecodeOptions, decode_channels, from_pcm
from whisper_serve.audio.decode_workers import Cancellation
from whisper_serve.audio.headers import expected_seconds
from whisper_serve.audio.source import Sent, Source
from whisper_serve.config.defaults import PATIENCE_S
from whisper_serve.config.resolve import Resolved
from whisper_serve.errors import ModelFailed
from whisper_serve.telemetry import tracing
from whisper_serve.text import filters
from whisper_serve.text.replacements import replaced
from whisper_serve.transcription import deadline
from whisper_serve.transcription.admission import Admission, Bounds
from whisper_serve.transcription.channels import (
    ChannelState,
    TimeOrder,
    speaker_of,
    windows_of,
)
from whisper_serve.transcription.language_policy import LanguagePolicy
from whisper_serve.transcription.ordered_map import OrderedMap
from whisper_serve.transcription.recording import Recording, Step, collect
from whisper_serve.transcription.replacements import ReplacementTables
from whisper_serve.transcription.temperature_fallback import Infer, transcribe_with_fallback
from whisper_serve.transcription.turns import Turns
from whisper_serve.types import (
    SAMPLE_RATE,
    Audio,
    Dropped,
    Gap,
    Options,
    Segment,
    Transcript,
    Window,
    WindowResult,
)

log = logging.getLogger(__name__)

# Decodes a recording, or each of its channels: DecodeWorkers.decode, which says what it raises.
Decode = Callable[[Source, DecodeOptions, Cancellation], tuple[Audio, ...]]


def decode_here(source: Source, options: DecodeOptions, _: Cancellation) -> tuple[Audio, ...]:
    """Decode in this process, which a hostile file may keep busy or crash: for tests and tools."""
    return decode_channels(source.data, options)


class Transcriber:
    """One for each ingress. `admission` bounds what its requests may take together."""

    def __init__(
        self,
        config: Resolved,
        infer: Infer,
        admission: Admission | None = None,
        decode: Decode = decode_here,
    ) -> None:
        server, quality = config.server, config.quality
        self.infer = infer
        self._decode = decode
        self.admission = admission or Admission(Bounds())
        self._max_parallel = config.limits.max_parallel_windows
        self._max_audio_s = server.max_audio_s
        self._max_channels = server.max_channels
        self._timeout = deadline.RequestTimeout(server.request_timeout_s, server.request_timeout_per_audio_s)
        self._accepted = config.model.supported_formats
        self._window_s = config.model.window_s
        self._vad = config.vad
        self._temperatures = quality.temperatures
        self._filters = quality.filters
        self._thresholds: filters.Thresholds = quality
        self._replacements = ReplacementTables(config)
        self._turns = Turns(config.limits.max_decodes, server.max_long_decodes, PATIENCE_S)
        self._threads = ThreadPoolExecutor(config.limits.max_decodes + server.max_long_decodes, "decode")

    def warm_up(self) -> None:
        """Load what the first recording would wait for."""
        vad.windows(Audio(np.zeros(SAMPLE_RATE, np.float32)), self._vad)

    async def transcribe(self, data: Sent, options: Options, caller: str = "") -> Transcript:
        """The whole transcript. Raises what `admitted` and `steps` raise."""
        async with self.admitted(data, options, caller) as recording:
            return collect(recording, [step async for step in self.steps(recording)])

    async def detect(self, data: Sent, options: Options, caller: str = "") -> WindowResult | None:
        """The first window's result, for its language; None where the recording has no speech."""
        async with self.admitted(data, options, caller) as recording:
            if not recording.windows:
                return None
            deadline.end_at(recording.until)
            return await deadline.in_time(self.infer(recording.windows[0]), recording.until)

    @asynccontextmanager
    async def admitted(self, data: Sent, options: Options, caller: str) -> AsyncIterator[Recording]:
        """Reserve room for a recording, then decode and split it; the reservation ends with the block.

        Raises Overloaded, before it is decoded where its expected length is too much; TimedOut, BadRequest, TooLarge.
        """
        began = time.monotonic()
        tables = await self._replacements.of(options.replacements, caller)
        options = replace(options, replacements=())  # which windows need not carry to the replicas
        with self.admission.reservation(caller) as reservation:
            reservation.reserve(expected_seconds(Source(data).data, self._max_audio_s, options.headerless))
            recording = await deadline.in_time(
                self.open(data, options, caller), began + self._timeout.seconds()
            )
            del data
            pending_s = sum(window.seconds for window in recording.windows)
            reservation.update(recording.audio_s, pending_s, self._parallel(options) * self._window_s)
            await self.admission.spend(caller, recording.audio_s)
            until = began + self._timeout.seconds(recording.audio_s)
            yield replace(recording, replacements=tables, reservation=reservation, until=until)

    async def open(self, data: Sent, options: Options, caller: str = "") -> Recording:
        """Decode and split a recording, in a thread, when it is the caller's turn. Raises what `decode` raises."""
        source, cancellation, loop = Source(data), Cancellation(), asyncio.get_running_loop()
        began = time.perf_counter()
        async with self._turns.turn(caller):
            with tracing.span("decode", bytes=len(source.data)):
                try:
                    channels = await loop.run_in_executor(
                        self._threads, self._decode_and_split, source, options, cancellation
                    )
                finally:  # the caller may be gone
                    cancellation.cancel()
        windows, seconds = windows_of(channels, options), channels[0][0].seconds
        if log.isEnabledFor(logging.DEBUG):
            found = [(round(w.start, 2), round(w.end, 2)) for w in windows]
            log.debug("speech found", extra={"audio_seconds": round(seconds, 2), "windows": found})
        return Recording(windows, seconds, options, time.perf_counter() - began, len(channels))

    def _decode_and_split(
        self, source: Source, options: Options, cancellation: Cancellation
    ) -> list[tuple[Audio, list[vad.Span]]]:
        """Each channel that is transcribed by itself, and where its windows are."""
        if options.headerless:
            channels: tuple[Audio, ...] = (from_pcm(source.data, self._max_audio_s),)
        else:
            wanted = DecodeOptions(self._max_audio_s, self._accepted, options.channels, self._max_channels)
            channels = self._decode(source, wanted, cancellation)
        settings = options.vad or self._vad
        return [(audio, vad.windows(audio, settings, self._window_s)) for audio in channels]

    async def steps(self, recording: Recording) -> AsyncGenerator[Step, None]:
        """Transcribe the windows, several at once; yield what each adds, in order.

        Raises TimedOut when the recording's time is up, ModelFailed where a window fails and gaps are not allowed,
        and whatever else `infer` raises, in the turn of the window concerned.
        """
        channels = {
            window.channel: ChannelState(LanguagePolicy(recording.options, self._thresholds))
            for window in recording.windows
        }
        in_time, done = TimeOrder(window.start for window in recording.windows), 0.0

        async def transcribe(window: Window) -> Step:
            language = channels[window.channel].language
            step = await self._transcribe_window(language.with_language(window), recording.until)
            return replace(step, result=language.with_warning(step.result)) if step.result else step

        def replacement(step: Step) -> Window | None:
            language = channels[step.window.channel].language
            return step.window if language.language_differs(step.window, step.result) else None

        in_order = OrderedMap(transcribe, recording.windows, self._parallel(recording.options), replacement)
        async with aclosing(in_order.results()) as steps:
            async for unfiltered in steps:
                channel = channels[unfiltered.window.channel]
                step = self._filtered(unfiltered, channel.last)
                if step.result and step.segments:
                    channel.language.settle(step.result)
                    channel.last = step.segments[-1]
                if recording.reservation:
                    recording.reservation.transcribed(step.window.seconds)
                done = min(1.0, max(done, step.window.end / recording.duration))
                segments = replaced(step.segments, recording.replacements)
                segments = in_time.add(segments) if recording.channels > 1 else segments
                yield replace(step, done=done, segments=segments)

    def _parallel(self, options: Options) -> int:
        """Windows of one recording that may be with the replicas at once."""
        return self._max_parallel if options.use_parallel else 1

    async def _transcribe_window(self, window: Window, until: float) -> Step:
        """A step without its share of the recording and without segments, which depend on the steps before."""
        began = time.perf_counter()
        deadline.end_at(until)  # in this task, and where its window goes
        try:
            with tracing.span("window", start=window.start, seconds=window.seconds):
                attempts = transcribe_with_fallback(window, self.infer, self._temperatures, self._thresholds)
                result = await deadline.in_time(attempts, until)
        except ModelFailed as e:
            if not window.options.allow_partial:
                where = f"{window.start:.1f} to {window.end:.1f} s"
                raise ModelFailed(f"{where} could not be transcribed: {e}") from e
            return Step(window, gap=Gap(window.start, window.end, str(e), window.channel))
        queue_s = max(0.0, time.perf_counter() - began - result.batch_inference_s)
        return Step(window, result, queue_s=queue_s)

    def _filtered(self, step: Step, last: Segment | None) -> Step:
        """The step with the segments of its window, each judged beside the last one kept."""
        window = step.window
        if step.result is None:
            return step
        language = "en" if window.options.task == "translate" else step.result.language
        kept: list[Segment] = []
        dropped: list[Dropped] = []
        for segment in step.result.segments:
            segment = segment.shifted(window.start).said_by(window.channel, speaker_of(window))
            before = kept[-1] if kept else last
            if window.options.multilingual:
                segment = replace(segment, language=step.result.language)
            reason = filters.clean(segment, before, language, self._filters, self._thresholds)
            if reason:
                dropped.append(Dropped(segment, reason))
            else:
                kept.append(segment)
        return replace(step, segments=tuple(kept), has_words=bool(kept), dropped=tuple(dropped))
