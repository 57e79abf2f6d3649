"""Channels that are decoded by themselves."""

import io
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from tests.integration.test_decode import encoded, pitch, tone
from whisper_serve.audio.channels import alike
from whisper_serve.audio.decode import DecodeOptions, decode, decode_channels
from whisper_serve.errors import BadRequest, TooLarge
from whisper_serve.types import SAMPLE_RATE, Samples


def written(*channels: Samples, rate: int = SAMPLE_RATE, **more: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.stack(channels, axis=1), rate, **{"format": "WAV", **more})
    return file.getvalue()


def in_turns(seconds: int, first: bool) -> Samples:
    """A second of tone, a second of silence, in turns."""
    on = np.arange(seconds * SAMPLE_RATE) // SAMPLE_RATE % 2 == (0 if first else 1)
    return np.where(on, tone(seconds), np.float32(0))


@pytest.mark.parametrize("rate", [8_000, SAMPLE_RATE, 44_100])
@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_each_channel_has_its_own_sound(rate: int, kind: str) -> None:
    data = written(tone(2, rate, 400), tone(2, rate, 900), tone(2, rate, 1500), rate=rate, format=kind)
    audio = decode_channels(data, DecodeOptions(60, channels="separate"))
    assert [pitch(channel.samples) for channel in audio] == pytest.approx([400, 900, 1500], abs=2)
    assert [channel.seconds for channel in audio] == pytest.approx([2, 2, 2], abs=0.01)
    assert all(channel.samples.flags.c_contiguous for channel in audio)


def test_mixed_or_of_one_channel_it_is_what_it_always_was() -> None:
    stereo = written(tone(1, hz=400), tone(1, hz=900))
    (mixed,) = decode_channels(stereo, DecodeOptions(60))
    assert np.array_equal(mixed.samples, decode(stereo, 60).samples)
    mono = written(tone(1))
    (only,) = decode_channels(mono, DecodeOptions(60, channels="separate"))
    assert np.array_equal(only.samples, decode(mono, 60).samples)


@pytest.mark.parametrize(
    ("kind", "codec", "frame"), [("adts", "aac", 1024), ("mp3", "libmp3lame", 1152), ("ogg", "libopus", 960)]
)
def test_channels_of_the_same_sound_are_one_however_they_are_coded(kind: str, codec: str, frame: int) -> None:
    data = encoded(kind, codec, tone(2, 48_000), layout="stereo", frame=frame)
    assert len(decode_channels(data, DecodeOptions(60, channels="separate"))) == 1


def test_a_quiet_channel_is_not_taken_for_the_same() -> None:
    assert (
        len(decode_channels(written(tone(1), tone(1), tone(1)), DecodeOptions(60, channels="separate"))) == 1
    )
    assert (
        len(decode_channels(written(0 * tone(1), 0.01 * tone(1)), DecodeOptions(60, channels="separate")))
        == 2
    )


def test_the_limit_of_seconds_counts_every_channel() -> None:
    data = written(tone(3, hz=400), tone(3, hz=900))
    assert len(decode_channels(data, DecodeOptions(6, channels="separate"))) == 2
    with pytest.raises(TooLarge, match="in 2 channels; the limit is 5 s"):
        decode_channels(data, DecodeOptions(5, channels="separate"))
    assert len(decode_channels(data, DecodeOptions(5))) == 1


def test_more_channels_than_are_allowed_are_refused_only_where_each_is_wanted() -> None:
    data = written(*(tone(1, hz=200 + 100 * i) for i in range(3)))
    with pytest.raises(BadRequest, match="has 3 channels; channels=separate takes at most 2"):
        decode_channels(data, DecodeOptions(60, channels="separate", max_channels=2))
    assert len(decode_channels(data, DecodeOptions(60, channels="speakers", max_channels=2))) == 1


def adts(*channels: Samples) -> bytes:
    """AAC in frames without a header of the whole, so that files can follow one another."""
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as container:
        layout = "mono" if len(channels) == 1 else "stereo"
        stream = container.add_stream("aac", rate=SAMPLE_RATE, layout=layout)
        sound = av.AudioFrame.from_ndarray(np.stack(channels), "fltp", layout)
        sound.rate = SAMPLE_RATE
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return file.getvalue()


def test_where_the_number_of_channels_changes_the_rest_is_the_sound_of_each() -> None:
    data = adts(tone(2), tone(2, hz=400)) + adts(tone(2, hz=700))
    left, right = decode_channels(data, DecodeOptions(60, channels="separate"))
    assert [pitch(sound.samples[:SAMPLE_RATE]) for sound in (left, right)] == [1000, 400]
    assert [pitch(sound.samples[-SAMPLE_RATE:]) for sound in (left, right)] == [700, 700]


def test_two_who_talk_in_turns_are_two_speakers() -> None:
    data = written(in_turns(6, True), in_turns(6, False))
    assert len(decode_channels(data, DecodeOptions(60, channels="speakers"))) == 2


@pytest.mark.parametrize(
    "right",
    [0.3 * np.roll(in_turns(6, True), 12), np.zeros(6 * SAMPLE_RATE, np.float32)],
    ids=["a second microphone", "silence"],
)
def test_one_sound_in_both_channels_or_in_one_is_mixed_for_speakers(right: Samples) -> None:
    data = written(in_turns(6, True), right)
    (mixed,) = decode_channels(data, DecodeOptions(60, channels="speakers"))
    assert np.allclose(mixed.samples, decode(data, 60).samples, atol=1e-4)


def test_channels_shorter_than_a_frame_can_be_compared() -> None:
    assert alike(np.ones(3, np.float32), np.zeros(3, np.float32))
