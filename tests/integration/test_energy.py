"""Voice activity detection by energy; not among the unit tests, because librosa takes seconds to load."""

import numpy as np

from whisper_serve.audio.silero import FRAME
from whisper_serve.audio.vad import energy, score
from whisper_serve.types import SAMPLE_RATE, Samples


def tone(level: float) -> Samples:
    """A second of a low tone."""
    samples: Samples = (level * np.sin(np.arange(SAMPLE_RATE) / 10)).astype(np.float32)
    return samples


def hiss(level: float) -> Samples:
    return np.random.default_rng(0).normal(0, level, SAMPLE_RATE).astype(np.float32)


def test_loud_sounds_without_hiss_count_as_speech_and_no_others() -> None:
    assert score(tone(0.3), energy)[1:-1].all()
    assert not score(tone(0.005), energy).any()
    assert not score(hiss(0.1), energy).any()


def test_each_frame_is_scored_by_its_own_sound() -> None:
    sounds = (tone(0.0), hiss(0.1), tone(0.3), tone(0.006))
    frames = np.concatenate([sound[:FRAME] for sound in sounds])
    assert score(frames, energy).tolist() == [0, 0, 1, 0]
