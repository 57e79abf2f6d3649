import numpy as np
import torch
from whisper.audio import log_mel_spectrogram, pad_or_trim

from whisper_serve.engines.whisper.request import FULL_FRAMES, DecodeRequest, in_context, log_mel
from whisper_serve.types import SAMPLE_RATE, Options


def request(seconds: float, temperature: float = 0.0) -> DecodeRequest:
    samples = np.linspace(-0.5, 0.5, round(seconds * SAMPLE_RATE), dtype=np.float32)
    return DecodeRequest(samples, 0.0, Options("en", temperature=temperature), ())


def test_a_margin_follows_short_speech_and_higher_temperatures_have_the_full_context() -> None:
    assert in_context(request(10), adaptive=True).frames == 1312
    assert in_context(request(1), adaptive=True).frames == 800
    assert in_context(request(28), adaptive=True).frames == FULL_FRAMES
    assert in_context(request(10, temperature=0.2), adaptive=True).frames == FULL_FRAMES
    assert in_context(request(10), adaptive=False).frames == FULL_FRAMES


def test_the_spectrogram_is_that_of_openai_whisper_on_padded_sound() -> None:
    ours = log_mel([request(5)], 80)
    theirs = log_mel_spectrogram(pad_or_trim(request(5).samples), 80)
    assert ours.shape == (1, 80, FULL_FRAMES)
    assert torch.equal(ours[0], theirs)
