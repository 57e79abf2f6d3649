"""Voice activity detection, and splitting a recording at silences into windows of speech.

Three steps. A method scores every frame of FRAME samples with a speech probability. SpeechSegmenter makes spans
of speech from the scores, one frame at a time, so that live audio gets the decisions a file gets. Then the spans
are padded, split where they are too long, and packed into windows.

To add a method: write a function or class that scores blocks, and list it in METHODS.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np

from whisper_serve.audio.silero import FRAME, Scores, Silero
from whisper_serve.types import SAMPLE_RATE, WINDOW_S, Audio, Samples, VadOptions

BLOCK = 128 * FRAME  # samples scored in one go, 4 s: larger blocks take more memory and no less time

# A pause longer than this ends its window. It is longer than a breath or a
# full stop, so sentences keep their neighbours; more of it would be encoded for nothing.
PAUSE_S = 2.0
# Unbroken speech is split in the last fifth of a window, 6 s of 30, and what is
# left after the split is no shorter: a lone word is transcribed badly.
SPLIT_SHARE = 0.2
SMOOTH = 5  # frames, 160 ms: a split belongs in a pause between words, not in a plosive inside one

ENERGY_RMS = 0.005  # quieter frames are not speech
ENERGY_CROSSINGS = 50  # zero crossings a frame; noise and hiss have more

Scorer = Callable[[Samples], Scores]  # fed whole frames, block after block of one recording


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a recording: samples[start:end]."""

    start: int  # samples from the start of the recording
    end: int


def windows(audio: Audio, options: VadOptions, window_s: float = WINDOW_S) -> list[Span]:
    """The windows of `audio` that hold speech, in order, none longer than `window_s` seconds (>= 1).

    They never overlap, and are split at pauses; inside speech that has none, at its
    quietest point. Empty where nobody speaks. Needs memory for one block beside the audio.
    """
    return split(audio.samples, score(audio.samples, METHODS[options.method]()), options, window_s)


def split(samples: Samples, scores: Scores, options: VadOptions, window_s: float = WINDOW_S) -> list[Span]:
    """The windows of a recording whose frames have been scored. `scores` has shape (frames,)."""
    longest = int(window_s * SAMPLE_RATE)
    spans = _pad(speech(scores, options, len(samples)), options, len(samples))
    return _pack([piece for span in spans for piece in _split_span(span, longest, samples, scores)], longest)


def score(samples: Samples, scorer: Scorer) -> Scores:
    """Score every frame of a recording, shape (frames,); the last one is filled up with silence."""
    whole = len(samples) // FRAME * FRAME
    scores = [scorer(samples[at : min(at + BLOCK, whole)]) for at in range(0, whole, BLOCK)]
    if whole < len(samples):
        scores.append(scorer(np.pad(samples[whole:], (0, whole + FRAME - len(samples)))))
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)


def speech(scores: Scores, options: VadOptions, end: int) -> list[Span]:
    """Spans of speech in a recording of `end` samples, unpadded."""
    segmenter = SpeechSegmenter(options)
    spans = [span for probability in scores.tolist() if (span := segmenter.feed(probability))]
    last = segmenter.close(end)
    return [*spans, last] if last else spans


class SpeechSegmenter:
    """Finds spans of speech in frame scores, which come one at a time; each span is returned as it ends.

    Speech begins with a frame at the threshold and ends with a pause of min_silence_s.
    Scores between the threshold and 0.15 below it (the margin in Silero VAD's own
    get_speech_timestamps) neither begin speech nor end it.
    """

    def __init__(self, options: VadOptions) -> None:
        self._begin_score = options.threshold
        self._end_score = max(options.threshold - 0.15, 0.01)
        self._min_silence = ceil(options.min_silence_s * SAMPLE_RATE / FRAME)  # frames
        self._min_speech = options.min_speech_s * SAMPLE_RATE  # samples
        self._frame = 0
        self._speech_start: int | None = None  # frame where speech began
        self._pause_start: int | None = None  # frame where the pause it is in began

    @property
    def speaking(self) -> bool:
        return self._speech_start is not None

    def feed(self, probability: float) -> Span | None:
        """Take the next frame; the span of speech that this frame ends, if any."""
        frame = self._frame
        self._frame += 1
        if probability >= self._begin_score:
            self._speech_start = frame if self._speech_start is None else self._speech_start
            self._pause_start = None
        elif self._speech_start is not None and (
            self._pause_start is not None or probability < self._end_score
        ):
            self._pause_start = frame if self._pause_start is None else self._pause_start
            if self._frame - self._pause_start >= self._min_silence:
                return self._take(self._pause_start * FRAME)
        return None

    def close(self, end: int) -> Span | None:
        """End the recording after `end` samples: the span of speech it ends in, if any."""
        return self._take(end if self._pause_start is None else self._pause_start * FRAME)

    def _take(self, end: int) -> Span | None:
        if self._speech_start is None:
            return None
        span = Span(self._speech_start * FRAME, end)
        self._speech_start = self._pause_start = None
        return span if end - span.start >= self._min_speech else None


def _pad(spans: list[Span], options: VadOptions, end: int) -> list[Span]:
    """Widen every span by the padding, up to the middle of a pause and the recording's ends."""
    padding = int(options.padding_s * SAMPLE_RATE)
    middles = [(left.end + right.start) // 2 for left, right in pairwise(spans)]
    return [
        Span(max(span.start - padding, low), min(span.end + padding, high))
        for span, low, high in zip(spans, [0, *middles], [*middles, end], strict=False)
    ]


def _split_span(span: Span, longest: int, samples: Samples, scores: Scores) -> Iterator[Span]:
    """Split unbroken speech into pieces no longer than `longest` samples, each at a quiet point."""
    margin = int(longest * SPLIT_SHARE)
    start = span.start
    while span.end - start > longest:
        limit = min(start + longest, span.end - margin)
        at = _quietest(Span(limit - margin, limit), samples, scores)
        yield Span(start, at)
        start = at
    yield Span(start, span.end)


def _quietest(span: Span, samples: Samples, scores: Scores) -> int:
    """The best sample in `span` to split at: where level and speech probability together are lowest."""
    first, last = ceil(span.start / FRAME), span.end // FRAME
    frames = samples[first * FRAME : last * FRAME].reshape(-1, FRAME)
    level = np.sqrt(np.mean(np.square(frames), axis=1))
    cost = level / max(float(level.max()), 1e-9) + scores[first:last]
    smooth = np.convolve(cost, np.ones(SMOOTH), mode="valid")
    return (first + int(np.argmin(smooth)) + SMOOTH // 2) * FRAME + FRAME // 2


def _pack(pieces: list[Span], longest: int) -> list[Span]:
    """Join neighbours, pauses included, into windows no longer than `longest` samples."""
    packed: list[Span] = []
    for piece in pieces:
        last = packed[-1] if packed else None
        near = last is not None and piece.start - last.end <= PAUSE_S * SAMPLE_RATE
        if last and near and piece.end - last.start <= longest:
            packed[-1] = Span(last.start, piece.end)
        else:
            packed.append(piece)
    return packed


def energy(block: Samples) -> Scores:
    """1 for frames loud enough and not hissing, 0 for others. Uses no model; misses whispers and takes music for speech."""
    from librosa.feature import rms, zero_crossing_rate  # takes seconds to import

    shape: dict[str, Any] = {"frame_length": FRAME, "hop_length": FRAME, "center": False}
    loud = rms(y=block, **shape)[0] > ENERGY_RMS
    voiced = zero_crossing_rate(block, **shape)[0] * FRAME < ENERGY_CROSSINGS
    return np.asarray(loud & voiced, np.float32)


def everything(block: Samples) -> Scores:
    """1 for every frame."""
    return np.ones(len(block) // FRAME, np.float32)


METHODS: dict[str, Callable[[], Scorer]] = {  # each call makes the scorer of one recording
    "silero": Silero,
    "energy": lambda: energy,
    "off": lambda: everything,
}
