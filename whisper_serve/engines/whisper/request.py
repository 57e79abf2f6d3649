"""What is to be decoded of a window, and how much of its context the model is shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from whisper.audio import log_mel_spectrogram

from whisper_serve.engines.whisper.prompt import MAX_NEW_TOKENS
from whisper_serve.types import SAMPLE_RATE, WINDOW_S, Options, Samples

FRAMES_PER_SECOND = 100  # of mel
FULL_FRAMES = round(WINDOW_S * FRAMES_PER_SECOND)  # the context Whisper was trained on
ADAPTIVE_MARGIN_S = 3.0  # silence after the speech, so that the model sees it end
SHORTEST_CONTEXT_S = 8.0  # below, the model fails so often that decoding again costs more than it saves
FRAMES_STEP = 32  # lengths that came before are encoded faster: what depends on a length alone is kept
TOKENS_PER_SECOND, SPARE_TOKENS = 8, 16  # more than most speech needs; what fills them needs full context

# Where sound begins with the first sample, the model is shown no onset, and leaves out or misreads the first word.
LEAD_IN_S = 0.2  # of silence in front of such sound: as much as voice activity detection leaves
ONSET_S = 0.05  # sound that is not quiet for so long at the beginning begins at once
QUIET = 0.1  # of the loudness (RMS) of the whole: 20 dB below it


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """All of a window, or what is left of it."""

    samples: Samples
    start: float  # seconds from the start of the window; below 0 after a lead-in
    options: Options  # its language is a code, or None: to be detected
    previous: tuple[int, ...]  # tokens before the start-of-transcript
    frames: int = FULL_FRAMES  # of mel to show the model: the samples, then silence
    max_tokens: int = MAX_NEW_TOKENS  # to generate
    check_language: bool = False  # detect the language though it is given
    encoded: Any = None  # encoder output, the model's own type; None: it is encoded with its batch

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def context_s(self) -> float:
        """Seconds of audio the model is shown."""
        return self.frames / FRAMES_PER_SECOND

    @property
    def sound_frames(self) -> int:
        """Mel frames that are not padding; at least the two of one encoder step."""
        return max(2, round(self.seconds * FRAMES_PER_SECOND))


def in_full_context(request: DecodeRequest) -> DecodeRequest:
    """The request, not yet encoded, with all the context and all the tokens there are."""
    return replace(request, frames=FULL_FRAMES, max_tokens=MAX_NEW_TOKENS, encoded=None)


def in_context(request: DecodeRequest, adaptive: bool) -> DecodeRequest:
    """The request, not yet encoded, with as much context and as many tokens as its length needs.

    At a higher temperature it gets all there is: it went wrong at a lower one before.
    """
    context = max(request.seconds + ADAPTIVE_MARGIN_S, SHORTEST_CONTEXT_S)
    frames = FRAMES_STEP * math.ceil(context * FRAMES_PER_SECOND / FRAMES_STEP)
    if not adaptive or request.options.temperature > 0 or frames >= FULL_FRAMES:
        return in_full_context(request)
    tokens = math.ceil(request.seconds * TOKENS_PER_SECOND) + SPARE_TOKENS
    return replace(request, frames=frames, max_tokens=min(tokens, MAX_NEW_TOKENS), encoded=None)


def with_lead_in(request: DecodeRequest, seconds: float) -> DecodeRequest:
    """The request with so much silence in front, or as much as fits, where its sound begins at once."""
    silence = np.zeros(round(min(seconds, WINDOW_S - request.seconds) * SAMPLE_RATE), np.float32)
    if not len(silence) or not begins_at_once(request.samples):
        return request
    samples = np.concatenate([silence, request.samples])
    return replace(request, samples=samples, start=request.start - len(silence) / SAMPLE_RATE)


def begins_at_once(samples: Samples) -> bool:
    """Whether there is no quiet in front of the first sound."""
    onset = samples[: round(ONSET_S * SAMPLE_RATE)]
    return len(onset) > 0 and loudness(onset) > QUIET * loudness(samples)


def loudness(samples: Samples) -> float:
    """Root of the mean square."""
    return math.sqrt(float(np.dot(samples, samples)) / len(samples))


def log_mel(requests: Sequence[DecodeRequest], mels: int, device: str = "cpu") -> torch.Tensor:
    """Log-mel spectrograms, shape (len(requests), mels, frames of the longest): each padded with silence."""
    samples = max(r.frames for r in requests) * SAMPLE_RATE // FRAMES_PER_SECOND
    padded = [np.pad(r.samples, (0, samples - len(r.samples))) for r in requests]
    return torch.stack([log_mel_spectrogram(one, mels, device=device) for one in padded])
