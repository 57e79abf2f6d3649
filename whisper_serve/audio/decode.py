"""Decode a file of any container to Audio: 16 kHz, mixed to mono or channel by channel, float32, within a limit of seconds.

All containers of containers.py are read by the FFmpeg libraries inside PyAV, block by block: no program is
started, no other file or address is opened, and memory stays near that of the result. To accept another
container, add its row there.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby
from math import inf
from operator import itemgetter
from typing import BinaryIO

import av
import av.logging
import numpy as np
import soxr
from av.audio.stream import AudioStream
from av.container import InputContainer

from whisper_serve.audio.channels import kept_apart, told_apart
from whisper_serve.audio.containers import ANY, CONTAINERS, Container
from whisper_serve.audio.headers import declared_ratio
from whisper_serve.audio.source import Contents
from whisper_serve.errors import BadAudio, TooLarge
from whisper_serve.types import SAMPLE_RATE, Audio, Channels, Samples

RATES = range(1_000, 384_001)  # Hz; others stand in damaged or hostile headers
CHANNELS = range(1, 65)
MAX_PACKETS_A_SECOND = 2_000  # healthy files have far fewer, and each costs the same
BLOCK = 1 << 15  # samples mixed and resampled at a time
TOLERANCE_S = 0.5  # the declared and the decoded length of a healthy file differ by less
NO_MIX_WEIGHTS = ("channels", "ambisonic", "binaural")  # in names of layouts without weights: "9 channels"
MP3_STARTS = (b"ID3", b"\xff", b"APETAGEX")
DECODERS = (  # by FFmpeg's names
    "aac,aac_latm,ac3,alac,amrnb,amrwb,dca,eac3,flac,g722,g726,g729,gsm,gsm_ms,ilbc,mlp,"
    "mp1float,mp2float,mp3float,mp3on4float,nellymoser,opus,s302m,speex,truehd,tta,vorbis,wavpack,"
    "wmalossless,wmapro,wmav1,wmav2,wmavoice,"
) + ",".join(name for name in sorted(av.codecs_available) if name.startswith(("pcm_", "adpcm_")))
OPEN_OPTIONS = {
    "format_whitelist": ",".join(CONTAINERS),  # playlists would open other files
    "protocol_whitelist": "",
    "codec_whitelist": DECODERS,  # else a cover picture is decoded, just to learn its size
    "max_size": "16384",  # bytes per packet of a WAV: fewer turns of the loop
    "max_probe_packets": "1",  # no long search for DTS in a WAV
}

av.logging.set_level(None)  # FFmpeg writes nothing to stderr


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What is wanted of a file."""

    max_seconds: float  # of all that is decoded: of the mix, or of all channels one after another
    # File-name extensions, such as ".mp3", or ANY. What counts is the container found in the bytes, under any of its
    # extensions.
    accepted: tuple[str, ...] = (ANY,)
    channels: Channels = "mix"
    max_channels: int = CHANNELS[-1]  # that may be wanted separately


def decode(data: Contents, max_seconds: float, accepted: tuple[str, ...] = (ANY,)) -> Audio:
    """A file mixed to mono, decoded in this process; for files that need not be feared. Raises what `blocks` raises."""
    return decode_channels(data, DecodeOptions(max_seconds, accepted))[0]


def decode_channels(data: Contents, options: DecodeOptions) -> tuple[Audio, ...]:
    """What `blocks` yields, as a recording for each channel, decoded in this process; for files that need not be feared.

    Raises what `blocks` raises. Blocking: call it in a thread. Threads may call it at once.
    """
    pcm, count = bytearray(), 1  # grows in place, where concatenation would double
    for block in blocks(io.BytesIO(data), data, options):
        pcm.extend(block.ravel().data)
        count = block.shape[1]
    return as_audio(pcm, count, options.channels)


def as_audio(pcm: bytearray, count: int, channels: Channels) -> tuple[Audio, ...]:
    """Recordings of float32 samples, those of `count` channels in turns. One where they are not told apart."""
    # One sample at 44.1 kHz is a third of one here, and may leave none.
    samples = np.frombuffer(pcm or bytearray(4 * count), np.float32).reshape(-1, count)
    return told_apart(tuple(Audio(np.ascontiguousarray(channel)) for channel in samples.T), channels)


def blocks(file: BinaryIO, data: Contents, options: DecodeOptions) -> Iterator[Samples]:
    """Read the first audio stream of a file of any container, block by block of shape (n, channels).

    There is one channel where all are mixed. file: at its beginning. data: what it holds.

    Raises BadAudio if the container is not accepted, holds no sound, or is cut
    short or damaged; TooLarge beyond max_seconds, as soon as that much is read;
    BadRequest beyond max_channels.
    """
    if not data:
        raise BadAudio("the file is empty")
    with _opened(file, data) as source:
        container = CONTAINERS[source.format.name]
        _check_accepted(container, options.accepted)
        _check_start(container, data)
        reader = _Reader(source, container)
        try:
            found, frames = _counted(reader.frames())
            count = kept_apart(found, options.channels, options.max_channels)
            if reader.declared_s * count > options.max_seconds + TOLERANCE_S:
                raise _too_long(options.max_seconds, count)
            yield from _limited(_at_16k(_mixed(frames, count), count), options.max_seconds)
        except av.FFmpegError as e:
            raise BadAudio(f"the recording is damaged after {reader.decoded_s:.1f} s") from e
    _check_complete(reader.decoded_s, max(reader.declared_s, reader.decoded_s * declared_ratio(data)))


def from_pcm(data: Contents, max_seconds: float = inf) -> Audio:
    """Read headerless sound: 16-bit little-endian, mono, at SAMPLE_RATE. Raises BadAudio, TooLarge."""
    if not data:
        raise BadAudio("there is no sound: zero bytes were sent")
    if len(data) % 2:
        raise BadAudio(f"16-bit samples take an even number of bytes; {len(data)} were sent")
    if len(data) / 2 / SAMPLE_RATE > max_seconds:
        raise _too_long(max_seconds, 1)
    samples = np.frombuffer(data, "<i2").astype(np.float32)
    samples /= 32768
    return Audio(samples)


def _opened(file: BinaryIO, data: Contents) -> InputContainer:
    try:
        return av.open(file, "r", options=OPEN_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as e:
        if data[8:12] == b"WAVE":
            raise BadAudio("no sound in this file: its WAV header is damaged, or nothing follows it") from e
        raise BadAudio(
            "this is no audio or video that can be read: something else, or damaged, or cut short"
        ) from e


def _check_accepted(container: Container, accepted: tuple[str, ...]) -> None:
    if ANY not in accepted and not set(container.extensions) & set(accepted):
        raise BadAudio(f"this is {container.name} audio; this server takes {', '.join(accepted)}")


def _check_start(container: Container, data: Contents) -> None:
    """MP3 alone plays from anywhere: a file that lost its beginning shows by its first bytes only."""
    head = data[:4096].lstrip(b"\0")
    if container is CONTAINERS["mp3"] and head and not head.startswith(MP3_STARTS):
        raise BadAudio("this MP3 recording lacks its beginning: it starts in the middle of a frame")


def _check_complete(decoded_s: float, declared_s: float) -> None:
    if not decoded_s:
        raise BadAudio("no sound in this file")
    if decoded_s < declared_s - TOLERANCE_S:
        raise BadAudio(f"the recording is cut short: {decoded_s:.1f} of {declared_s:.1f} s could be read")


class _Reader:
    """One open file, read once, with its declared length and how much of it has been decoded."""

    def __init__(self, source: InputContainer, container: Container) -> None:
        stream = next(iter(source.streams.audio), None)
        if stream is None:
            raise BadAudio(f"there is no sound in this {container.name} file: it has no audio stream")
        if stream.codec_context is None:
            raise BadAudio(f"the sound in this {container.name} file is coded in a way that cannot be read")
        _forget_custom_layout(stream)
        self._source = source
        self._stream = stream
        unit = float(stream.time_base or 0)  # seconds
        self._start = (stream.start_time or 0) * unit
        self.declared_s = (stream.duration or 0) * unit if container.exact else 0.0
        self.decoded_s = 0.0  # silent gaps between frames included

    def frames(self) -> Iterator[av.AudioFrame]:
        """Every frame that can be decoded. A few broken packets are skipped, as players do."""
        without_gaps_s = 0.0
        packets = broken = 0
        for packet in self._packets():
            packets += 1
            if packets > 5_000 + MAX_PACKETS_A_SECOND * without_gaps_s:
                raise BadAudio(
                    "the sound is stored in packets of under a millisecond; convert the file first"
                )
            try:
                frames = packet.decode()
            except av.FFmpegError as e:
                broken += 1
                if broken > 2 + packets // 20:
                    raise BadAudio(f"the recording is damaged around {self.decoded_s:.1f} s") from e
                continue
            for frame in frames:
                _check_shape(frame)
                seconds = frame.samples / frame.sample_rate
                without_gaps_s += seconds
                end = (frame.time or 0.0) + seconds - self._start
                self.decoded_s = max(self.decoded_s, without_gaps_s, end)
                yield frame

    def _packets(self) -> "Iterator[av.Packet[AudioStream]]":  # PyAV is generic in its stubs only
        # PyAV 18.1 raises IndexError at the end of a file where a stream appeared midway.
        with suppress(IndexError):
            yield from self._source.demux(self._stream)


def _forget_custom_layout(stream: AudioStream) -> None:
    """Keep the count of channels only, where a file places them as no layout with a name does.

    PyAV 18.1 frees the map of such a layout twice, with every frame that has
    one, and that kills the process. Setting the layout here drops the map.
    """
    layout = stream.codec_context.layout
    if "(" in layout.name:  # as in "2 channels (FL+FL)"
        stream.codec_context.layout = f"{layout.nb_channels} channels"


def _check_shape(frame: av.AudioFrame) -> None:
    if frame.sample_rate not in RATES:
        raise BadAudio(f"a sample rate of {frame.sample_rate} Hz; {RATES[0]} to {RATES[-1]} Hz can be read")
    if frame.layout.nb_channels not in CHANNELS:
        raise BadAudio(f"{frame.layout.nb_channels} channels; at most {CHANNELS[-1]} can be read")


def _counted(frames: Iterator[av.AudioFrame]) -> tuple[int, Iterator[av.AudioFrame]]:
    """The number of channels, by the first frame, since headers may lie; and all frames."""
    first = next(frames, None)
    return (1, frames) if first is None else (first.layout.nb_channels, chain([first], frames))


def _mixed(frames: Iterable[av.AudioFrame], count: int) -> Iterator[tuple[int, Samples]]:
    """Blocks of (sample rate, samples of shape (n, count)).

    For a count of 1 the channels are mixed, by FFmpeg's weights for their layout. Where the file does not say which
    channel is which, all count alike: the low-frequency channel of a guessed 5.1 would be dropped, and may be a
    speaker. Rate and layout may change on the way: chained Ogg, HE-AAC, broadcasts. Frames that have not `count`
    channels are mixed, and that is then the sound of each.
    """
    for (rate, _, layout), alike in groupby(frames, lambda f: (f.sample_rate, f.format.name, f.layout.name)):
        apart = count > 1 and av.AudioLayout(layout).nb_channels == count
        target = layout if apart or any(word in layout for word in NO_MIX_WEIGHTS) else "mono"
        mixer = av.AudioResampler("flt", target, frame_size=BLOCK)
        loudest = 1.0 if target == layout else _loudest_mix(layout)
        for frame in chain(alike, [None]):
            for mixed in mixer.resample(frame):
                # Interleaved: PyAV 18.1 misreads the planes of more than eight channels.
                samples = _clipped(np.asarray(mixed.to_ndarray()[0], np.float32) / np.float32(loudest))
                block = samples.reshape(mixed.samples, -1)
                if block.shape[1] != count:
                    block = block.mean(axis=1, keepdims=True).repeat(count, axis=1)
                yield rate, block


@cache
def _loudest_mix(layout: str) -> float:
    """The sum of FFmpeg's weights for a layout: a mix divided by it does not clip, even of a full-scale 5.1."""
    channels = av.AudioLayout(layout).nb_channels
    full_scale = av.AudioFrame.from_ndarray(np.ones((1, channels * BLOCK), np.float32), "flt", layout)
    full_scale.sample_rate = SAMPLE_RATE
    return float(av.AudioResampler("flt", "mono").resample(full_scale)[0].to_ndarray().max())


def _at_16k(blocks: Iterable[tuple[int, Samples]], count: int) -> Iterator[Samples]:
    for rate, alike in groupby(blocks, itemgetter(0)):
        if rate == SAMPLE_RATE:
            yield from (block for _, block in alike)
            continue
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, count, dtype="float32", quality="HQ")
        for _, block in alike:
            yield _clipped(resampler.resample_chunk(block))
        yield _clipped(resampler.resample_chunk(np.empty((0, count), np.float32), last=True))


def _clipped(block: Samples) -> Samples:
    """Bring every sample into [-1, 1], in place.

    NaN becomes silence: it comes as stray samples out of float editors, and one
    of them would spoil all the sound around it, or cost the whole recording.
    """
    if block.size and not (block.min() >= -1 and block.max() <= 1):  # NaN compares false
        np.nan_to_num(block, copy=False, nan=0.0)
        np.clip(block, -1, 1, out=block)
    return block


def _limited(blocks: Iterable[Samples], max_seconds: float) -> Iterator[Samples]:
    samples = 0
    for block in blocks:
        samples += block.size
        if samples > max_seconds * SAMPLE_RATE:
            raise _too_long(max_seconds, block.shape[1])
        yield block


def _too_long(max_seconds: float, count: int) -> TooLarge:
    where = f" in {count} channels" if count > 1 else ""
    return TooLarge(f"more than {max_seconds:g} s of audio{where}; the limit is {max_seconds:g} s")
