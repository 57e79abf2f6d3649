import io
import random
import re
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from loadtest.common.speech import SHARED
from whisper_serve.audio.containers import CONTAINERS
from whisper_serve.audio.decode import CHANNELS, RATES, decode, from_pcm
from whisper_serve.errors import BadAudio, TooLarge
from whisper_serve.types import SAMPLE_RATE, Samples

FRAME = 960  # samples per packet of the files made here


def speech(folder: str) -> list[Path]:
    return [path for path in sorted((SHARED / folder).glob("*")) if path.suffix != ".jsonl"]


def tone(seconds: float = 1.0, rate: int = SAMPLE_RATE, hz: float = 1000.0) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def pitch(samples: Samples) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * SAMPLE_RATE / len(samples)


def written(
    samples: NDArray[Any], rate: int = SAMPLE_RATE, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def encoded(
    kind: str,
    codec: str,
    *tracks: Samples,
    rate: int = 48_000,
    layout: str = "mono",
    options: dict[str, str] | None = None,
    frame: int = FRAME,
) -> bytes:
    """A file with one audio stream per track, made by FFmpeg; each channel of a layout gets the same sound."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind, options=options) as container:
        streams = [container.add_stream(codec, rate=rate, layout=layout) for _ in tracks]
        for stream, track in zip(streams, tracks, strict=True):
            width = stream.codec_context.layout.nb_channels
            for start in range(0, len(track) - frame + 1, frame):
                planes = np.tile(track[start : start + frame], (width, 1))
                sound = av.AudioFrame.from_ndarray(planes, "fltp", layout)
                sound.rate, sound.pts, sound.time_base = rate, start, Fraction(1, rate)
                container.mux(stream.encode(sound))
            container.mux(stream.encode(None))
    return file.getvalue()


def filmed(seconds: int = 1) -> bytes:
    """Video without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=5, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(5 * seconds):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        container.mux(stream.encode(None))
    return file.getvalue()


def with_declared_size(wav: bytes, size: int) -> bytes:
    """The same WAV whose header says that its sound takes `size` bytes."""
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", size) + wav[at + 4 :]


def of_unknown_length(flac: bytes) -> bytes:
    """The same FLAC as an encoder writes it to a pipe: with no count of samples."""
    return flac[:21] + bytes([flac[21] & 0xF0, 0, 0, 0, 0]) + flac[26:]


def placed(labels: list[int]) -> bytes:
    """A CAF of silence whose channels stand by its own channel table."""
    width = len(labels)
    description = struct.pack(">d4sIIIII", SAMPLE_RATE, b"lpcm", 0, 2 * width, 1, width, 16)
    places = struct.pack(">III", 0, 0, width) + b"".join(struct.pack(">II3f", n, 0, 0, 0, 0) for n in labels)
    chunks = [(b"desc", description), (b"chan", places), (b"data", bytes(4 + 2 * width * SAMPLE_RATE))]
    return b"caff\0\1\0\0" + b"".join(name + struct.pack(">q", len(body)) + body for name, body in chunks)


def refusal(data: bytes, max_seconds: float = 60) -> str:
    with pytest.raises(BadAudio) as caught:
        decode(data, max_seconds)
    return str(caught.value)


@pytest.mark.skipif(not speech("formats"), reason="no shared speech here")
@pytest.mark.parametrize("path", speech("formats"), ids=lambda p: p.name)
def test_every_format_holds_the_same_eleven_seconds_of_speech(path: Path) -> None:
    def loudness(file: Path) -> Samples:
        halves = decode(file.read_bytes(), 60).samples[: 10 * SAMPLE_RATE].reshape(-1, SAMPLE_RATE // 2)
        loud: Samples = halves.std(axis=1)
        return loud

    audio = decode(path.read_bytes(), 60)
    assert audio.samples.dtype == np.float32
    assert audio.seconds == pytest.approx(11, abs=0.12)
    assert np.abs(audio.samples).max() == pytest.approx(0.8, abs=0.12)
    likeness = np.corrcoef(loudness(path), loudness(SHARED / "formats" / "jfk-aiff.aiff"))[0, 1]
    assert likeness > 0.9  # some encoders put 60 ms of silence before


@pytest.mark.skipif(not speech("invalid"), reason="no shared speech here")
@pytest.mark.parametrize("path", speech("invalid"), ids=lambda p: p.name)
def test_every_invalid_file_is_refused_in_one_plain_sentence(path: Path) -> None:
    message = refusal(path.read_bytes())
    assert len(message) < 120
    assert message.isprintable()
    assert not any(word in message for word in ("Errno", "avcodec", "libav", "<none>", "/"))


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        *[("WAV", s) for s in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM")],
        *[("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("W64", "PCM_16"), ("RF64", "PCM_16")],
        *[
            ("FLAC", "PCM_16"),
            ("OGG", "VORBIS"),
            ("OGG", "OPUS"),
            ("MP3", "MPEG_LAYER_III"),
            ("NIST", "PCM_16"),
        ],
    ],
)
def test_files_of_libsndfile_are_read(kind: str, subtype: str) -> None:
    audio = decode(written(tone(2), SAMPLE_RATE, kind, subtype), 60)
    assert audio.seconds == pytest.approx(2, abs=0.1)
    assert pitch(audio.samples) == pytest.approx(1000, abs=2)


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        *[("mp4", "aac"), ("mov", "alac"), ("webm", "libopus"), ("matroska", "flac"), ("mpegts", "aac")],
        *[("mpeg", "mp2"), ("flv", "aac"), ("avi", "libmp3lame"), ("eac3", "eac3")],
        *[("ac3", "ac3"), ("adts", "aac"), ("wv", "wavpack"), ("tta", "tta")],
    ],
)
def test_files_of_ffmpeg_are_read(kind: str, codec: str) -> None:
    audio = decode(encoded(kind, codec, tone(2, 48_000), rate=48_000), 60)
    assert audio.seconds == pytest.approx(2, abs=0.1)
    assert pitch(audio.samples) == pytest.approx(1000, abs=2)


def test_sixteen_bit_samples_at_16_khz_are_taken_as_they_are() -> None:
    pcm = np.array([0, 1, -1, 32767, -32768], np.int16)
    assert decode(written(pcm), 1).samples.tolist() == (pcm / 32768).astype(np.float32).tolist()


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_length_pitch_and_loudness(rate: int) -> None:
    samples = decode(written(tone(2, rate), rate), 60).samples
    assert len(samples) == 2 * SAMPLE_RATE
    assert pitch(samples) == 1000
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.02)


def test_resampling_removes_frequencies_above_8_khz() -> None:
    samples = decode(written(tone(1, 48_000, hz=9_000), 48_000), 60).samples
    assert np.abs(samples[1000:-1000]).max() < 1e-3


@pytest.mark.parametrize("rate", [8_000, SAMPLE_RATE, 44_100, RATES[-1]])
def test_a_file_of_one_sample_is_valid(rate: int) -> None:
    assert len(decode(written(np.zeros(1, np.float32), rate), 1).samples) == max(1, SAMPLE_RATE // rate)


def test_silence_is_valid_audio() -> None:
    assert not decode(written(np.zeros(SAMPLE_RATE, np.float32), kind="FLAC"), 2).samples.any()


def test_samples_out_of_range_are_clipped_and_those_that_are_no_numbers_are_silent() -> None:
    wild = np.array([0.5, 7, -7, np.inf, -np.inf, np.nan], np.float32)
    assert decode(written(wild, subtype="FLOAT"), 1).samples.tolist() == [0.5, 1, -1, 1, -1, 0]


@pytest.mark.parametrize("loudest", [1.2, -1.2])
def test_samples_that_are_a_little_too_loud_are_clipped(loudest: float) -> None:
    sound = np.array([0.5, loudest] * 50, np.float32)
    assert decode(written(sound, subtype="FLOAT"), 1).samples[:2].tolist() == [0.5, np.sign(loudest)]


def test_one_sample_that_is_no_number_leaves_the_others_intact() -> None:
    sound = tone(1, 44_100)
    sound[20_000] = np.nan
    samples = decode(written(sound, 44_100, subtype="FLOAT"), 2).samples
    assert pitch(samples) == 1000


def test_the_largest_floats_do_not_overflow_in_the_mix() -> None:
    loud = np.full((100, 3), 3e38, np.float32)
    assert decode(written(loud, subtype="FLOAT"), 1).samples.tolist() == [1.0] * 100


def test_two_channels_are_averaged() -> None:
    stereo = np.stack([tone(), np.zeros(SAMPLE_RATE, np.float32)], axis=1)
    samples = decode(written(stereo, subtype="FLOAT"), 2).samples
    np.testing.assert_allclose(samples, tone() / 2, atol=1e-6)


def test_full_scale_surround_sound_is_mixed_without_clipping() -> None:
    samples = decode(encoded("flac", "flac", 2 * tone(1, 48_000), layout="5.1"), 2).samples
    assert 0.97 < np.abs(samples[1000:-1000]).max() <= 1.0
    assert np.mean(np.abs(samples) > 0.99) < 0.2  # a sine's peaks; clipped ones would be flat
    assert pitch(samples) == 1000


def test_dialogue_in_the_centre_is_louder_than_the_surrounds() -> None:
    def peak(channel: int) -> float:
        sound = np.zeros((SAMPLE_RATE, 6), np.int16)
        sound[:, channel] = 20_000
        wav = bytearray(written(sound, kind="WAVEX"))
        struct.pack_into("<I", wav, wav.index(b"fmt ") + 28, 0x3F)  # the mask of 5.1
        return float(np.abs(decode(bytes(wav), 2).samples).max())

    left, _, centre, rumble, back, _ = (peak(i) for i in range(6))
    assert centre > left > back > rumble == 0


@pytest.mark.parametrize("width", [3, 6, 9, CHANNELS[-1]])
def test_channels_without_a_position_have_the_same_weight(width: int) -> None:
    for channel in {0, 3 % width, width - 1}:
        sound = np.zeros((100, width), np.float32)
        sound[:, channel] = 1
        assert decode(written(sound, subtype="FLOAT"), 1).samples[50] == pytest.approx(1 / width)


def test_channels_without_a_position_are_averaged_at_each_moment() -> None:
    sound = np.zeros((SAMPLE_RATE, 9), np.float32)
    sound[:, 2], sound[:, 8] = tone(), -tone() / 4
    samples = decode(written(sound, subtype="FLOAT"), 1).samples
    np.testing.assert_allclose(samples, tone() * 0.75 / 9, atol=1e-6)


def test_more_than_eight_channels_of_a_planar_codec_are_read() -> None:
    samples = decode(written(np.tile(tone()[:, None], (1, 10)), kind="OGG", subtype="VORBIS"), 2).samples
    assert pitch(samples) == 1000


@pytest.mark.parametrize("labels", [[1, 1], [1, 2, 3, 33], [5, 5, 6, 6, 1, 1, 1, 1]])
def test_channels_placed_as_in_no_known_layout_do_not_crash_the_process(labels: list[int]) -> None:
    for _ in range(5):
        assert decode(placed(labels), 2).seconds == 1


def test_absurd_rates_and_channel_counts_are_refused() -> None:
    assert refusal(written(np.zeros(100, np.float32), 1_092_676)).endswith("1000 to 384000 Hz can be read")
    assert refusal(written(np.zeros((100, 65), np.float32))) == "65 channels; at most 64 can be read"


def test_the_first_audio_stream_is_taken() -> None:
    both = encoded("matroska", "flac", tone(1, 48_000, hz=440), tone(1, 48_000, hz=1000))
    assert pitch(decode(both, 2).samples) == pytest.approx(440, abs=1)


def test_video_without_sound_is_refused_with_the_reason() -> None:
    assert refusal(filmed()) == "there is no sound in this MP4 file: it has no audio stream"


def test_a_codec_without_a_decoder_is_refused_with_the_reason() -> None:
    odd = encoded("matroska", "libopus", tone(1, 48_000)).replace(b"A_OPUS", b"A_OPXS")
    assert "coded in a way that cannot be read" in refusal(odd)


def test_a_cover_picture_is_left_alone() -> None:
    picture = b"\0image/png\0\3\0" + b"\x89PNG\r\n\x1a\n" + bytes(2_000)
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    mp3 = encoded("mp3", "libmp3lame", tone(1, 48_000), options={"id3v2_version": "0"})
    samples = decode(b"ID3\3\0\0" + size + frame + mp3, 2).samples
    assert pitch(samples) == pytest.approx(1000, abs=2)


def test_a_format_is_accepted_by_its_container_and_not_by_its_name() -> None:
    flac = written(tone(), kind="FLAC")
    with pytest.raises(BadAudio, match=r"^this is FLAC audio; this server takes \.wav, \.mp3$"):
        decode(flac, 2, (".wav", ".mp3"))
    assert decode(flac, 2, (".wav", ".flac")).seconds == 1
    assert decode(encoded("mp4", "aac", tone(1, 48_000)), 2, (".m4a",)).seconds == pytest.approx(1, abs=0.1)


def test_extensions_begin_with_a_dot() -> None:
    assert all(e.startswith(".") and e.islower() for c in CONTAINERS.values() for e in c.extensions)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{path}'\n",
    ],
    ids=["hls", "concat"],
)
def test_a_playlist_opens_no_other_file(text: str, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(written(tone()))
    assert "no audio or video" in refusal(text.format(path=other).encode())


def test_a_recording_of_just_the_limit_is_taken_and_one_sample_more_is_not() -> None:
    assert decode(written(tone(1)), 1.0).seconds == 1
    with pytest.raises(TooLarge, match=r"^more than 1 s of audio; the limit is 1 s$"):
        decode(written(np.zeros(SAMPLE_RATE + 1, np.float32)), 1.0)


def test_decoding_stops_at_the_limit_without_reading_the_rest() -> None:
    flac = of_unknown_length(written(np.zeros(60 * SAMPLE_RATE, np.float32), kind="FLAC"))
    half = len(flac) // 2
    with pytest.raises(TooLarge):
        decode(flac[:half] + random.Random(0).randbytes(half), 10)


def test_a_header_that_declares_too_much_is_enough_to_refuse() -> None:
    with pytest.raises(TooLarge):
        decode(written(np.zeros(60 * SAMPLE_RATE, np.float32), kind="FLAC")[:200], 10)


@pytest.mark.parametrize("size", [0, 0x7F000000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_wav_written_to_a_pipe_is_whole_whatever_its_header_says(size: int) -> None:
    np.testing.assert_allclose(
        decode(with_declared_size(written(tone(2)), size), 10).samples, tone(2), atol=1e-4
    )


def test_a_flac_written_to_a_pipe_is_whole() -> None:
    assert decode(of_unknown_length(written(tone(2), kind="FLAC")), 10).seconds == 2


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "FLAC"])
def test_a_file_with_less_sound_than_its_header_declares_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(-9_000, 9_000, 4 * SAMPLE_RATE).astype(np.int16)
    data = written(noise, kind=kind)
    message = refusal(data[: len(data) // 2])
    assert message.startswith("the recording is cut short: ")
    assert re.search(
        r" of (4\.0|3\.8) s could be read$", message
    )  # FFmpeg 7, with Python 3.10, counts AIFF short
    assert float(message.split()[5]) == pytest.approx(2, abs=0.3)


def test_a_declared_size_that_includes_the_header_does_not_make_a_file_incomplete() -> None:
    wav = written(tone())
    assert decode(with_declared_size(wav, len(wav)), 2).seconds == 1


def test_an_mp4_truncated_after_its_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index-first.mp4"
    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for start in range(0, 4 * SAMPLE_RATE, 1024):
            sound = av.AudioFrame.from_ndarray(tone(4)[None, start : start + 1024], "fltp", "mono")
            sound.rate, sound.pts = SAMPLE_RATE, start
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert decode(data, 10).seconds == pytest.approx(4, abs=0.1)
    assert "of 4.0 s could be read" in refusal(data[: len(data) // 2])


LIVE: list[tuple[str, str, dict[str, str]]] = [
    ("webm", "libopus", {"live": "1"}),
    ("ogg", "libopus", {}),
    ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "100000"}),
    ("mpegts", "aac", {}),
    ("adts", "aac", {}),
    ("mp3", "libmp3lame", {"write_xing": "0"}),
]


@pytest.mark.parametrize(("kind", "codec", "options"), LIVE, ids=lambda v: v if isinstance(v, str) else "")
def test_a_live_recording_is_decoded_as_far_as_it_goes(
    kind: str, codec: str, options: dict[str, str]
) -> None:
    data = encoded(kind, codec, tone(4, 48_000), options=options)
    assert decode(data, 10).seconds == pytest.approx(4, abs=0.1)
    assert 1 < decode(data[: len(data) * 3 // 4], 10).seconds < 3.6


def test_a_chain_of_ogg_files_is_decoded_to_its_end() -> None:
    link = written(tone(1), kind="OGG", subtype="VORBIS")
    assert decode(link + link, 10).seconds == pytest.approx(2, abs=0.1)


def test_a_change_of_rate_and_channels_midway_is_followed() -> None:
    low = encoded("adts", "aac", tone(1, 24_000), rate=24_000)
    high = encoded("adts", "aac", tone(1, 48_000), layout="stereo")
    audio = decode(low + high, 10)
    assert audio.seconds == pytest.approx(2, abs=0.15)
    assert pitch(audio.samples[-8000:]) == pytest.approx(1000, abs=4)


def test_a_stream_that_appears_midway_is_ignored() -> None:
    one = encoded("mpeg", "mp2", tone(1, 48_000))
    for _ in range(20):
        assert decode(one + encoded("mpeg", "mp2", tone(0.2, 48_000), tone(0.2, 48_000)), 10).seconds > 1


def test_silent_gaps_between_packets_do_not_make_a_file_incomplete() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for start in range(0, 2 * SAMPLE_RATE, 1024):
            sound = av.AudioFrame.from_ndarray(tone(3)[None, start : start + 1024], "fltp", "mono")
            sound.rate, sound.pts = SAMPLE_RATE, start + (0 if start < SAMPLE_RATE else 5 * SAMPLE_RATE)
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert decode(file.getvalue(), 10).seconds == pytest.approx(2, abs=0.2)


def test_one_broken_packet_is_skipped_but_many_are_refused() -> None:
    mp3 = bytearray(encoded("mp3", "libmp3lame", tone(4, 48_000)))
    middle = len(mp3) // 2
    mp3[middle : middle + 300] = random.Random(0).randbytes(300)
    assert decode(bytes(mp3), 10).seconds == pytest.approx(4, abs=0.2)
    aac = bytearray(encoded("mp4", "aac", tone(4, 48_000)))
    noise = random.Random(0).randbytes(len(aac) // 2)
    start = aac.index(b"mdat") + 200
    aac[start : start + len(noise)] = noise
    assert "the recording is damaged" in refusal(bytes(aac))


@pytest.mark.parametrize(("broken", "readable"), [(12, True), (13, False)])
def test_two_packets_and_one_of_twenty_may_be_broken(broken: int, readable: bool) -> None:
    file = encoded("mp4", "aac", tone(5, 48_000))
    with av.open(io.BytesIO(file)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    damaged = bytearray(file)
    for at, size in places[
        219 - broken : 219
    ]:  # the last is the 219th, and so ten times twenty have been read
        damaged[at : at + size] = b"\xff" * size
    if readable:
        assert decode(bytes(damaged), 10).seconds == pytest.approx(5, abs=0.4)
    else:
        assert "the recording is damaged around" in refusal(bytes(damaged))


def test_an_mp3_without_its_beginning_is_refused() -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * 48_000).astype(np.float32)
    mp3 = encoded("mp3", "libmp3lame", noise)
    assert "lacks its beginning" in refusal(mp3[2000:])


def test_packets_of_one_sample_are_refused_before_they_cost_minutes() -> None:
    tiny = encoded("matroska", "pcm_s16le", tone(0.2, 48_000), frame=1)
    assert "packets of under a millisecond" in refusal(tiny)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (written(np.zeros(0, np.float32)), "no sound in this file"),
        (b"this is not audio\n" * 200, "no audio or video"),
        (random.Random(0).randbytes(20_000), "no audio or video"),
        (written(tone())[:40], "no sound in this file"),
    ],
    ids=["empty", "no-samples", "text", "random", "half-a-header"],
)
def test_bytes_that_are_no_recording_are_refused_with_the_reason(data: bytes, reason: str) -> None:
    assert reason in refusal(data)


def test_ffmpeg_writes_nothing_to_stdout_or_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    mp3 = encoded("mp3", "libmp3lame", tone(1, 48_000))
    refusal(mp3[500:])
    decode(mp3[:-500], 10)
    assert capfd.readouterr() == ("", "")


def test_threads_may_decode_at_once() -> None:
    files = [written(tone(1, rate, hz), rate) for rate in (8_000, 48_000) for hz in (300, 600, 900)]
    with ThreadPoolExecutor(4) as pool:
        pitches = list(pool.map(lambda data: pitch(decode(data, 2).samples), files * 4))
    assert pitches == [300, 600, 900] * 8


FUZZED: dict[str, Callable[[], bytes]] = {
    "wav": lambda: written(tone(0.3)),
    "flac": lambda: written(tone(0.3), kind="FLAC"),
    "mp3": lambda: encoded("mp3", "libmp3lame", tone(0.3, 48_000)),
    "mp4": lambda: encoded("mp4", "aac", tone(0.3, 48_000), layout="5.1"),
    "webm": lambda: encoded("webm", "libopus", tone(0.3, 48_000)),
    "ogg": lambda: written(tone(0.3), kind="OGG"),
    "caf": lambda: placed([1, 1]),
}


@pytest.mark.parametrize("kind", FUZZED)
def test_a_damaged_file_is_decoded_or_refused_with_a_known_error(kind: str) -> None:
    whole, chance = FUZZED[kind](), random.Random(kind)
    for _ in range(30):
        data = bytearray(whole)
        reach = chance.choice((64, 512, len(data)))
        for _ in range(chance.choice((1, 4, 30))):
            data[chance.randrange(min(reach, len(data)))] = chance.choice(
                (0, 0x7F, 0xFF, chance.randrange(256))
            )
        try:
            audio = decode(bytes(data), 60)
        except (BadAudio, TooLarge):
            continue
        assert 0 < audio.seconds <= 60
        assert np.abs(audio.samples).max() <= 1


def test_raw_samples_are_little_endian_and_scaled_to_one() -> None:
    audio = from_pcm(struct.pack("<4h", 0, 16384, -32768, 32767))
    assert audio.samples.tolist() == [0, 0.5, -1, pytest.approx(32767 / 32768)]
    assert audio.samples.dtype == np.float32


def test_raw_samples_are_limited_to_the_sample() -> None:
    assert from_pcm(bytes(2 * SAMPLE_RATE), 1.0).seconds == 1
    with pytest.raises(TooLarge, match="the limit is 1 s"):
        from_pcm(bytes(2 * SAMPLE_RATE + 2), 1.0)


def test_raw_samples_come_in_pairs_of_bytes_and_not_without_any() -> None:
    with pytest.raises(BadAudio, match="even number of bytes; 3 were sent"):
        from_pcm(b"abc")
    with pytest.raises(BadAudio, match="no sound"):
        from_pcm(b"")
