"""Makes damaged recordings from whole ones, some of them made to cost much, reproducibly by seed.

As a program it decodes one after another in this process, with limits on time and memory:

    python -m tests.faults.mutants FOLDER FIRST LAST

It prints each seed before decoding, and at the end the megabytes it grew by; a fault it finds ends it.
"""

import contextlib
import random
import resource
import signal
import sys
from functools import lru_cache
from pathlib import Path

import psutil

from tests.support import hostile_audio
from whisper_serve.audio.decode import decode
from whisper_serve.errors import BadAudio, TooLarge

LONGEST_S = 10  # of one decode
MEMORY = 2 << 30  # bytes of address space, beyond which an allocation fails
MAX_AUDIO_S = 600.0
SETTLED = 100  # decodes after which a process no longer grows
MAGIC = (0, 1, 0x7F, 0x80, 0xFF)
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0")

COSTLY = (  # few enough of each that they cost little
    hostile_audio.matroska_with_tags(100),
    hostile_audio.matroska_with_private(100_000),
    hostile_audio.flac_with_comments(1_000),
    hostile_audio.mp4_with_times(10_000),
)


@lru_cache
def recordings(folder: Path) -> tuple[bytes, ...]:
    files = sorted(file for name in ("formats", "invalid") for file in (folder / name).iterdir())
    return tuple(file.read_bytes() for file in files if file.suffix not in (".jsonl", ".md")) + COSTLY


def mutant(folder: Path, seed: int) -> bytes:
    """One recording with a few kinds of damage that are known to break decoders."""
    chance = random.Random(seed)
    sources = recordings(folder)
    data = bytearray(chance.choice(sources))
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        # Headers decide more than sound does: half of the damage goes to the first kilobyte.
        at = chance.randrange(min(len(data), 1024) if chance.random() < 0.5 else len(data))
        end = min(len(data), at + chance.choice((1, 4, 64, 1024, len(data))))
        match chance.randrange(7):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.choice(MAGIC)
            case 2:
                data[at : at + 4] = chance.choice(EXTREMES)
            case 3:
                del data[at:end]
            case 4:
                data[at:at] = data[at:end]
            case 5:
                data[at:end] = chance.randbytes(min(end - at, 4096))
            case 6:
                data[at:end] = chance.choice(sources)[at:end]
    return bytes(data[: 4 << 20])


def main() -> None:
    folder, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    me, settled = psutil.Process(), 0
    for seed in range(first, last):
        print(seed, flush=True)
        signal.alarm(LONGEST_S)  # unhandled, it ends the process, even inside FFmpeg
        with contextlib.suppress(BadAudio, TooLarge):
            decode(mutant(folder, seed), MAX_AUDIO_S)
        if seed == first + SETTLED:
            settled = me.memory_info().rss
    print((me.memory_info().rss - settled) / 1e6 if settled else 0.0)


if __name__ == "__main__":
    main()
