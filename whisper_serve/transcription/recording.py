"""A recording on its way through the service: split into windows, what each of them adds, and the transcript of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from statistics import fmean

from whisper_serve.text.replacements import Phrases
from whisper_serve.transcription.admission import Reservation
from whisper_serve.transcription.channels import warnings_about
from whisper_serve.types import (
    Dropped,
    Gap,
    Options,
    Segment,
    Timings,
    Transcript,
    Window,
    WindowResult,
)


@dataclass(frozen=True, slots=True)
class Recording:
    """Decoded and split, ready to be transcribed."""

    windows: tuple[Window, ...]  # in order of their starts
    duration: float  # seconds
    options: Options
    decode_s: float  # what decoding and splitting took
    channels: int = 1  # that are transcribed by themselves
    replacements: tuple[Phrases, ...] = ()
    reservation: Reservation | None = None  # where the queue is bounded
    until: float = inf  # moment of time.monotonic() by which all must be transcribed

    @property
    def audio_s(self) -> float:
        """Seconds of audio in all channels."""
        return self.duration * self.channels


@dataclass(frozen=True, slots=True)
class Step:
    """What one window added to the transcript: its segments, or a gap."""

    window: Window
    result: WindowResult | None = None  # as the model gave it; None for a gap
    gap: Gap | None = None
    queue_s: float = 0.0  # waiting for a replica, over all attempts
    done: float = 0.0  # share of the recording up to the end of this window, 0 to 1
    # What comes next in the transcript, timed from the start of the recording: what the filters kept of this window,
    # and with several channels what waited for it.
    segments: tuple[Segment, ...] = ()
    has_words: bool = False  # the filters kept some of this window
    dropped: tuple[Dropped, ...] = ()


def collect(recording: Recording, steps: Sequence[Step]) -> Transcript:
    """Join all steps of a recording to its transcript."""
    results = [step.result for step in steps if step.result]
    warnings = [
        *warnings_about(recording.options, recording.channels),
        *chain.from_iterable(r.warnings for r in results),
    ]
    first = next((step.result for step in steps if step.result and step.has_words), None)
    return Transcript(
        segments=tuple(segment for step in steps for segment in step.segments),
        duration=recording.duration,
        language=first.language if first else recording.options.language,
        language_probability=first.language_probability if first else 0.0,
        task=recording.options.task,
        dropped=tuple(dropped for step in steps for dropped in step.dropped),
        gaps=tuple(step.gap for step in steps if step.gap),
        windows=len(recording.windows),
        engine=next((r.engine for r in results if r.engine), ""),
        timings=Timings(
            decode_s=recording.decode_s,
            queue_s=max((step.queue_s for step in steps), default=0.0),
            inference_s=sum(r.inference_s for r in results),
            batch_windows=fmean(r.batch_windows for r in results) if results else 0.0,
            batch_audio_s=fmean(r.batch_audio_s for r in results) if results else 0.0,
        ),
        gpu_memory_gb=max((r.gpu_memory_gb for r in results), default=0.0),
        warnings=tuple(dict.fromkeys(warnings)),
    )
