"""Audio in, windows cut at silences out: the stretches of a recording worth hearing.

Three steps. A method scores every frame of FRAME samples: how likely is it
speech? SpeechSegmenter makes spans of speech from the scores, one frame at a time, so
that live audio gets the decisions a file gets. Then the spans are padded, cut
where they are too long, and packed into windows.

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
# A cut is looked for in the last fifth of a window, 6 s of 30, and what is
# left of the speech after it is no shorter: a lone word is heard badly.
CUT_SHARE = 0.2
SMOOTH = 5  # frames, 160 ms: a cut wants a pause between words, not a closed mouth inside one

ENERGY_RMS = 0.005  # quieter frames are not speech
ENERGY_CROSSINGS = 50  # zero crossings a frame; noise and hiss have more

Scorer = Callable[[Samples], Scores]  # fed whole frames, block after block of one recording


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a recording: samples[start:end]."""

    start: int  # samples from the start of the recording
    end: int


def windows(audio: Audio, options: VadOptions, window_s: float = WINDOW_S) -> list[Span]:
    """The stretches of `audio` that hold speech, in order, none longer than `window_s` (>= 1).

    They never overlap, and are cut at pauses; inside speech that has none, at its
    quietest point. Empty where nobody speaks. Needs memory for one block beside the audio.
    """
    return cut(audio.samples, score(audio.samples, METHODS[options.method]()), options, window_s)


def cut(samples: Samples, scores: Scores, options: VadOptions, window_s: float = WINDOW_S) -> list[Span]:
    """The windows of a recording whose frames have been scored."""
    longest = int(window_s * SAMPLE_RATE)
    spans = _pad(speech(scores, options, len(samples)), options, len(samples))
    return _pack([piece for span in spans for piece in _split(span, longest, samples, scores)], longest)


def score(samples: Samples, scorer: Scorer) -> Scores:
    """Score every frame of a recording; the last one is filled up with silence."""
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
    """Who speaks when: frame scores in, one at a time, spans of speech out as each ends.

    Speech begins with a frame at the threshold and ends with the pause that
    outlasts min_silence_s. Scores between the threshold and 0.15 below it
    (Silero's own margin) neither begin speech nor end it.
    """

    def __init__(self, options: VadOptions) -> None:
        self._begin = options.threshold
        self._end = max(options.threshold - 0.15, 0.01)
        self._patience = ceil(options.min_silence_s * SAMPLE_RATE / FRAME)  # frames
        self._shortest = options.min_speech_s * SAMPLE_RATE  # samples
        self._frame = 0
        self._since: int | None = None  # frame where speech began
        self._quiet: int | None = None  # frame where the present pause in it began

    @property
    def speaking(self) -> bool:
        return self._since is not None

    def feed(self, probability: float) -> Span | None:
        """Take the next frame; a span, if the pause that ends one has just lasted long enough."""
        frame = self._frame
        self._frame += 1
        if probability >= self._begin:
            self._since = frame if self._since is None else self._since
            self._quiet = None
        elif self._since is not None and (self._quiet is not None or probability < self._end):
            self._quiet = frame if self._quiet is None else self._quiet
            if self._frame - self._quiet >= self._patience:
                return self._take(self._quiet * FRAME)
        return None

    def close(self, end: int) -> Span | None:
        """The recording is over, after `end` samples: the span still open, if any."""
        return self._take(end if self._quiet is None else self._quiet * FRAME)

    def _take(self, end: int) -> Span | None:
        if self._since is None:
            return None
        span = Span(self._since * FRAME, end)
        self._since = self._quiet = None
        return span if end - span.start >= self._shortest else None


def _pad(spans: list[Span], options: VadOptions, end: int) -> list[Span]:
    """Widen every span by the padding, up to the middle of a pause and the recording's ends."""
    padding = int(options.padding_s * SAMPLE_RATE)
    middles = [(left.end + right.start) // 2 for left, right in pairwise(spans)]
    return [
        Span(max(span.start - padding, low), min(span.end + padding, high))
        for span, low, high in zip(spans, [0, *middles], [*middles, end], strict=False)
    ]


def _split(span: Span, longest: int, samples: Samples, scores: Scores) -> Iterator[Span]:
    """Cut unbroken speech into pieces no longer than `longest`, each at a quiet point."""
    margin = int(longest * CUT_SHARE)
    start = span.start
    while span.end - start > longest:
        limit = min(start + longest, span.end - margin)
        at = _quietest(Span(limit - margin, limit), samples, scores)
        yield Span(start, at)
        start = at
    yield Span(start, span.end)


def _quietest(span: Span, samples: Samples, scores: Scores) -> int:
    """The sample in `span` where a cut hurts least: low in level and least like speech."""
    first, last = ceil(span.start / FRAME), span.end // FRAME
    frames = samples[first * FRAME : last * FRAME].reshape(-1, FRAME)
    level = np.sqrt(np.mean(np.square(frames), axis=1))
    cost = level / max(float(level.max()), 1e-9) + scores[first:last]
    smooth = np.convolve(cost, np.ones(SMOOTH), mode="valid")
    return (first + int(np.argmin(smooth)) + SMOOTH // 2) * FRAME + FRAME // 2


def _pack(pieces: list[Span], longest: int) -> list[Span]:
    """Join neighbours, pauses included, into windows no longer than `longest`."""
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
    """1 for frames loud enough and not hissing, 0 for others. No model; deaf to whispers, fooled by music."""
    from librosa.feature import rms, zero_crossing_rate  # takes seconds to import

    shape: dict[str, Any] = {"frame_length": FRAME, "hop_length": FRAME, "center": False}
    loud = rms(y=block, **shape)[0] > ENERGY_RMS
    voiced = zero_crossing_rate(block, **shape)[0] * FRAME < ENERGY_CROSSINGS
    return np.asarray(loud & voiced, np.float32)


def everything(block: Samples) -> Scores:
    return np.ones(len(block) // FRAME, np.float32)


METHODS: dict[str, Callable[[], Scorer]] = {  # each call makes the scorer of one recording
    "silero": Silero,
    "energy": lambda: energy,
    "off": lambda: everything,
}
