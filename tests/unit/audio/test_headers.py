"""Lengths that headers declare, of real files and of damaged ones."""

import io
import random
import struct

import numpy as np
import pytest
import soundfile

from whisper_serve.audio.headers import PCM_BYTES_A_SECOND, declared_ratio, expected_seconds
from whisper_serve.types import SAMPLE_RATE

LONGEST = 3600.0


def written(kind: str, seconds: float = 4.0, rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    """Noise, which compresses little."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (int(seconds * rate), channels))
    file = io.BytesIO()
    soundfile.write(file, noise, rate, format=kind, subtype="PCM_16")
    return file.getvalue()


def with_stream_info(flac: bytes, rate: int, samples: int) -> bytes:
    """The same FLAC whose header declares another sample rate and number of samples."""
    fields = int.from_bytes(flac[18:26], "big")
    kept = fields >> 36 & 0xFF  # channels, and bits of a sample
    return flac[:18] + (rate << 44 | kept << 36 | samples).to_bytes(8, "big") + flac[26:]


@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (SAMPLE_RATE, 1), (44_100, 2), (96_000, 2)])
def test_the_length_of_a_flac_or_wav_file_is_that_of_its_header(kind: str, rate: int, channels: int) -> None:
    assert expected_seconds(written(kind, 4, rate, channels), LONGEST) == pytest.approx(4, abs=0.01)


def test_other_files_and_bare_samples_count_as_16_bit_mono_by_their_size() -> None:
    assert expected_seconds(bytes(PCM_BYTES_A_SECOND * 3), LONGEST) == 3
    assert expected_seconds(written("AIFF"), LONGEST) == pytest.approx(4, abs=0.01)
    assert expected_seconds(written("FLAC", rate=48_000), LONGEST, headerless=True) > 8


def test_a_flac_written_to_a_pipe_counts_by_its_size() -> None:
    flac = with_stream_info(written("FLAC"), SAMPLE_RATE, 0)
    assert expected_seconds(flac, LONGEST) == len(flac) / PCM_BYTES_A_SECOND


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_written_to_a_pipe_counts_by_the_sound_that_is_there(size: int) -> None:
    wav = written("WAV", rate=48_000)
    at = wav.index(b"data") + 4
    piped = wav[:at] + struct.pack("<I", size) + wav[at + 4 :]
    assert expected_seconds(piped, LONGEST) == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize(
    ("rate", "samples"), [(1, 2**36 - 1), (SAMPLE_RATE, 2**36 - 1), (2**20 - 1, 1), (0, 9)]
)
def test_a_flac_header_that_lies_gives_a_length_between_zero_and_the_limit(rate: int, samples: int) -> None:
    flac = with_stream_info(written("FLAC"), rate, samples)
    assert 0 < expected_seconds(flac, LONGEST) <= len(flac) / 1000
    assert expected_seconds(flac, 2.0) <= 2


def test_a_few_bytes_cannot_declare_hours() -> None:
    flac = with_stream_info(written("FLAC"), SAMPLE_RATE, 2**36 - 1)[:100]
    assert expected_seconds(flac, LONGEST) <= 0.1


@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
def test_a_damaged_header_never_raises_and_stays_within_the_limit(kind: str) -> None:
    whole, chance = written(kind, 0.5), random.Random(kind)
    for length in range(64):
        assert 0 <= expected_seconds(whole[:length], LONGEST) <= 1
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 4, 30))):
            data[chance.randrange(64)] = chance.randrange(256)
        assert 0 <= expected_seconds(bytes(data), LONGEST) <= LONGEST
        assert declared_ratio(bytes(data)) >= 1


@pytest.mark.parametrize("kind", ["WAV", "AIFF"])
def test_a_wav_or_aiff_file_cut_in_half_declares_twice_what_is_there(kind: str) -> None:
    data = written(kind)
    assert declared_ratio(data) == 1
    assert declared_ratio(data[: len(data) // 2]) == pytest.approx(2, abs=0.01)
