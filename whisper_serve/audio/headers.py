"""Read the length that the header of a WAV, AIFF or FLAC file declares. It may be damaged, or lie."""

import struct
from collections.abc import Iterator

from whisper_serve.audio.source import Contents
from whisper_serve.types import SAMPLE_RATE

PCM_BYTES_A_SECOND = 2 * SAMPLE_RATE  # of 16-bit mono: the guess where no header says more
# Speech takes more, in FLAC and in WAV: a header that declares more seconds than its bytes allow is not believed.
FEWEST_BYTES_A_SECOND = 1000
STREAMED = 0x7F00_0000  # bytes; a writer that cannot seek back declares this many, or more
IFF = {b"RIFF": ("<4sI", b"data"), b"FORM": (">4sI", b"SSND")}  # chunk header; the chunk with the sound
MAX_CHUNKS = 64  # no healthy file has more before its sound


def expected_seconds(data: Contents, longest: float, headerless: bool = False) -> float:
    """About how long a recording is, before it is decoded: from 0 to `longest`, whatever its header says.

    FLAC by its STREAMINFO block (RFC 9639, section 8.2), WAV by its chunks `fmt ` and `data`; any other
    file, and `headerless` 16-bit samples, as if it were 16-bit mono PCM.
    """
    declared = None if headerless else _flac_seconds(data) or _wav_seconds(data)
    if declared is None:
        return min(len(data) / PCM_BYTES_A_SECOND, longest)
    return min(declared, len(data) / FEWEST_BYTES_A_SECOND, longest)


def declared_ratio(data: Contents) -> float:
    """How many times more sound the header of a WAV or AIFF file declares than follows it; 1 if none is missing.

    FFmpeg does not report it. A size of zero or of two gigabytes declares nothing: it was written before the
    sound, to a pipe.
    """
    sound = IFF.get(data[:4], ("", b""))[1]
    for name, at, size in _chunks(data):
        if name == sound:
            there = len(data) - at
            return size / there if there < size < STREAMED else 1.0
    return 1.0


def _flac_seconds(data: Contents) -> float | None:
    if len(data) < 26 or data[:4] != b"fLaC" or data[4] & 0x7F:  # its first block is STREAMINFO, of type 0
        return None
    fields = int.from_bytes(data[18:26], "big")
    rate = fields >> 44  # Hz
    samples = fields & (1 << 36) - 1  # of one channel; 0 where the writer did not know
    return samples / rate if rate and samples else None


def _wav_seconds(data: Contents) -> float | None:
    if data[:4] != b"RIFF":
        return None
    bytes_a_second = 0
    for name, at, size in _chunks(data):
        if name == b"fmt " and at + 12 <= len(data):
            (bytes_a_second,) = struct.unpack_from("<I", data, at + 8)
        if name == b"data":
            there = len(data) - at
            return (min(size, there) if size else there) / bytes_a_second if bytes_a_second else None
    return None


def _chunks(data: Contents) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset and declared size in bytes of each chunk of a WAV or AIFF file."""
    if data[:4] not in IFF:
        return
    header, _ = IFF[data[:4]]
    at = 12
    for _ in range(MAX_CHUNKS):
        if at + 8 >= len(data):
            return
        name, size = struct.unpack_from(header, data, at)
        yield name, at + 8, size
        at += 8 + size + size % 2
