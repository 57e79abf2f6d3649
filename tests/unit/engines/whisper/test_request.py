import numpy as np
import torch
from whisper.audio import log_mel_spectrogram, pad_or_trim

from whisper_serve.engines.whisper.request import (
    FULL_FRAMES,
    DecodeRequest,
    begins_at_once,
    in_context,
    log_mel,
    with_lead_in,
)
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


def test_sound_begins_at_once_unless_its_first_hundredths_are_quiet() -> None:
    sound = np.sin(np.arange(SAMPLE_RATE, dtype=np.float32))
    late = sound.copy()
    late[: SAMPLE_RATE // 10] = 0
    assert begins_at_once(sound)
    assert not begins_at_once(late)
    assert begins_at_once(late + sound / 5)
    assert not begins_at_once(np.zeros(SAMPLE_RATE, np.float32))
    assert not begins_at_once(np.zeros(0, np.float32))


def test_a_lead_in_is_silence_in_front_and_no_more_than_fits() -> None:
    led = with_lead_in(request(5), 0.2)
    assert (led.seconds, led.start) == (5.2, -0.2)
    assert not led.samples[: round(0.2 * SAMPLE_RATE)].any()
    assert np.array_equal(led.samples[round(0.2 * SAMPLE_RATE) :], request(5).samples)
    assert with_lead_in(request(29.9), 0.2).seconds == 30
    assert with_lead_in(request(30), 0.2).seconds == 30
    assert with_lead_in(request(5), 0.0).seconds == 5
