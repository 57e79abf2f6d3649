"""A call with a person on each channel, made of two recordings of LibriSpeech."""

import io

import numpy as np
import pytest
import soundfile

from loadtest.common import speech
from loadtest.common.wer import wer
from tests.support.service import Running
from whisper_serve.audio.decode import decode
from whisper_serve.types import SAMPLE_RATE

CLIPS = [clip for clip in speech.manifest() if clip.part == "librispeech-test-clean"][:2]
PAUSE_S = 1.0
pytestmark = pytest.mark.skipif(not CLIPS, reason="no folder of shared recordings beside the repository")


def call(overlap_s: float) -> bytes:
    """The first clip on the left; the second one on the right, before the first has ended."""
    left, right = (decode(clip.path.read_bytes(), 60).samples for clip in CLIPS)
    at = len(left) - int(overlap_s * SAMPLE_RATE)
    channels = np.zeros((at + len(right), 2), np.float32)
    channels[: len(left), 0], channels[at:, 1] = left, right
    out = io.BytesIO()
    soundfile.write(out, channels, SAMPLE_RATE, format="FLAC")
    return out.getvalue()


@pytest.mark.parametrize("overlap_s", [-PAUSE_S, 2.0], ids=["in turns", "at once"])
def test_each_channel_has_the_words_that_were_said_on_it(service: Running, overlap_s: float) -> None:
    with service.client() as client:
        fields = {"channels": "separate", "language": "en", "word_timestamps": "true"}
        files = {"audio_file": ("call.flac", call(overlap_s))}
        body = client.post("/transcribe", files=files, data=fields).json()
        asr = client.post("/asr?output=json&diarize=true&language=en", files=files).json()
    starts = [segment["start"] for segment in body["segments"]]
    assert starts == sorted(starts)
    for channel, clip in enumerate(CLIPS, 1):
        said = [s["text"] for s in body["segments"] if s["channel"] == channel]
        assert wer([clip.text], [" ".join(said)]) < 0.1
        spoken = [s["text"] for s in asr["segments"] if s["speaker"] == f"SPEAKER_0{channel - 1}"]
        assert wer([clip.text], [" ".join(spoken)]) < 0.1
    second = next(w for s in body["segments"] if s["channel"] == 2 for w in s["words"])
    assert abs(second["start"] - (CLIPS[0].seconds - overlap_s)) < 1
