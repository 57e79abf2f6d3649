"""Small recordings that cost a decoder minutes or gigabytes, made from what FFmpeg does with each.

python -m tests.support.hostile_audio FOLDER    writes them into a folder
"""

import struct
import sys
from collections.abc import Callable
from pathlib import Path

RATE = 8_000  # Hz
SECOND = bytes(2 * RATE)  # of silence, 16-bit mono


def element(name: int, content: bytes) -> bytes:
    """Of EBML, in which Matroska is written."""
    identity = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return identity + (1 << 56 | len(content)).to_bytes(8, "big") + content


def short(name: int, content: bytes) -> bytes:
    """The same in fewer bytes: at most 126 of content."""
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + bytes([0x80 | len(content)]) + content


def matroska(more: bytes = b"", private: bytes = b"") -> bytes:
    """A second of silence; `more` stands before it."""
    sound = short(0xB5, struct.pack(">f", RATE)) + short(0x9F, b"\1") + short(0x6264, b"\x10")
    codec = short(0x86, b"A_PCM/INT/LIT") + (element(0x63A2, private) if private else b"")
    track = short(0xD7, b"\1") + short(0x73C5, b"\1") + short(0x83, b"\2") + codec + short(0xE1, sound)
    tracks = element(0x1654AE6B, element(0xAE, track))
    cluster = element(0x1F43B675, short(0xE7, b"\0") + element(0xA3, b"\x81\0\0\x80" + SECOND))
    header = element(0x1A45DFA3, short(0x4282, b"matroska"))
    info = element(0x1549A966, short(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
    return header + element(0x18538067, info + tracks + more + cluster)


def matroska_with_tags(count: int = 8_000) -> bytes:
    """FFmpeg looks through all tags for each one that it adds, and after each through all of them again."""
    tags = (
        short(0x7373, short(0x67C8, short(0x45A3, b"%08d" % n) + short(0x4487, b"x" * 10)))
        for n in range(count)
    )
    return matroska(element(0x1254C367, b"".join(tags)))


def matroska_with_private(size: int = 200_000_000) -> bytes:
    """FFmpeg copies the private data of a codec several times."""
    return matroska(private=bytes(size))


def flac_with_comments(count: int = 80_000) -> bytes:
    """FFmpeg looks through all comments for each one that it adds."""
    comments = b"".join(struct.pack("<I", 8) + b"%06d=x" % n for n in range(count))
    body = struct.pack("<I", 0) + struct.pack("<I", count) + comments
    samples = RATE << 44 | 15 << 36 | RATE  # mono, 16 bits a sample, a second
    info = struct.pack(">HH6x", 4096, 4096) + samples.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + b"\0" + (34).to_bytes(3, "big") + info + b"\x84" + len(body).to_bytes(3, "big") + body


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def full(name: bytes, content: bytes) -> bytes:
    return box(name, bytes(4) + content)


def mp4_with_times(count: int = 4_000_000) -> bytes:
    """An index entry of FFmpeg's for each sample that the tables declare."""
    entry = struct.pack(">6xH8xHHIHH", 1, 1, 16, 0, RATE, 0)
    sound = full(b"stsd", struct.pack(">I", 1) + box(b"sowt", entry))
    times = full(b"stts", struct.pack(">I", count) + struct.pack(">II", 1, 1) * count)
    chunks = full(b"stsc", struct.pack(">IIII", 1, 1, count, 1))
    sizes = full(b"stsz", struct.pack(">II", 2, count))
    offsets = full(b"stco", struct.pack(">II", 1, 48))
    table = box(b"stbl", sound + times + chunks + sizes + offsets)
    refer = box(b"dinf", full(b"dref", struct.pack(">I", 1) + box(b"url ", b"\0\0\0\1")))
    header = full(b"mdhd", struct.pack(">IIIIHH", 0, 0, RATE, count, 0, 0))
    handler = full(b"hdlr", struct.pack(">4s4s12xx", bytes(4), b"soun"))
    media = box(b"mdia", header + handler + box(b"minf", full(b"smhd", bytes(4)) + refer + table))
    track = full(b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, RATE) + bytes(60))
    movie = full(b"mvhd", struct.pack(">IIII", 0, 0, RATE, count) + bytes(80))
    silence = box(b"mdat", SECOND)
    return box(b"ftyp", b"isom\0\0\0\0isom") + silence + box(b"moov", movie + box(b"trak", track + media))


FILES: dict[str, Callable[[], bytes]] = {
    "matroska-tags.mkv": matroska_with_tags,
    "matroska-private.mkv": matroska_with_private,
    "flac-comments.flac": flac_with_comments,
    "mp4-times.mp4": mp4_with_times,
}


def main() -> None:
    folder = Path(sys.argv[1])
    for name, made in FILES.items():
        (folder / name).write_bytes(made())


if __name__ == "__main__":
    main()
