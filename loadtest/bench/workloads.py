"""Clips whose words are known in, the workloads of a bench out. To add a workload: a row in `workloads`."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

from loadtest.bench.samples import Work
from loadtest.clips import Clip, load_clips, mixed
from loadtest.speech import SHARED
from whisper_serve.audio.decode import decode
from whisper_serve.types import SAMPLE_RATE, WINDOW_S

LONG = SHARED / "longform" / "librispeech-5639-40744.mp3"  # 8.3 minutes
LONG_S = 480.0  # of the recording that stands in for it
PAUSE_S = 0.5
SHORT, ONE_LONG, MIX, FEW = "short clips", "one long file", "mix", "few short clips"
PER_CALLER = 2  # requests, at least


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a bench hears."""

    clips: int  # in the short workload
    few: int  # for peers that are slow
    callers: tuple[int, ...]
    mix_callers: int
    rounds: int
    timestamps: tuple[bool, ...]  # without or with, as tried in faster-whisper
    stand_in_s: float | None  # length of a stitched recording in place of the long one; None: the long one


FULL = Extent(110, 20, (1, 4, 16, 64), 16, 3, (False, True), None)
QUICK = Extent(10, 4, (1, 16), 16, 1, (False,), 90.0)


def workloads(clips: Sequence[Clip], extent: Extent, scratch: Path) -> dict[str, tuple[Clip, ...]]:
    """Each workload's clips, in the order in which they are asked; the same for every peer."""
    short = mixed(clips, "mixed", extent.clips)
    random.Random(0).shuffle(short)
    long = long_clip(short, extent.stand_in_s, scratch)
    return {
        SHORT: tuple(short),
        ONE_LONG: (long,),
        MIX: (long, *short),
        FEW: tuple(mixed(short, "mixed", extent.few)),
    }


def work(decks: Mapping[str, Sequence[Clip]], name: str, callers: int) -> Work:
    """A workload for so many callers; short clips come round again until each caller has some."""
    deck = decks[name]
    count = max(len(deck), PER_CALLER * callers) if name == SHORT else len(deck)
    return Work(tuple(islice(cycle(deck), count)), callers)


def long_clip(short: Sequence[Clip], stand_in_s: float | None, scratch: Path) -> Clip:
    """The recording of 8 minutes where it is at hand and wanted, else short ones end to end."""
    if stand_in_s is None and LONG.is_file():
        return next(clip for clip in load_clips(LONG.parent) if clip.name == LONG.name)
    return stitched(short, stand_in_s or LONG_S, scratch / "stitched.flac")


def stitched(clips: Sequence[Clip], seconds: float, file: Path) -> Clip:
    """Clips with pauses between them, again and again, until the whole lasts so long; written to `file`."""
    pause, parts, texts, length = np.zeros(int(PAUSE_S * SAMPLE_RATE), np.float32), [], [], 0
    for clip in cycle(clips):
        samples = decode(Path(clip.path).read_bytes(), WINDOW_S).samples
        parts += [samples, pause]
        texts.append(clip.text)
        length += len(samples) + len(pause)
        if length >= seconds * SAMPLE_RATE:
            break
    soundfile.write(file, np.concatenate(parts), SAMPLE_RATE)
    return Clip(str(file), " ".join(texts), length / SAMPLE_RATE)
