"""Workloads of a bench, made of clips whose words are known. To add a workload: a row in `workloads`."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

from loadtest.bench.child import samples_of
from loadtest.common.clips import Clip, load_clips, mixed
from loadtest.common.speech import SHARED
from whisper_serve.types import SAMPLE_RATE

LONG = SHARED / "longform" / "librispeech-5639-40744.mp3"  # 8.3 minutes
LONG_S = 480.0  # of the recording that stands in for it
PAUSE_S = 0.5
SHORT, ONE_LONG, MIX, FEW = "short clips", "one long file", "mix", "few short clips"
PER_CALLER = 2  # requests, at least


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    clips: int  # in the short workload
    few: int  # for peers that are slow
    callers: tuple[int, ...]
    mix_callers: int
    rounds: int
    timestamps: tuple[bool, ...]  # without or with, as tried in faster-whisper
    stand_in_s: float | None  # length of a stitched recording in place of the long one; None: the long one


FULL = Extent(110, 20, (1, 4, 16, 64), 16, 3, (False, True), None)
QUICK = Extent(10, 4, (1, 16), 16, 1, (False,), 90.0)

Workloads = Mapping[str, tuple[Clip, ...]]


def workloads(clips: Sequence[Clip], extent: Extent, scratch: Path) -> Workloads:
    """Each workload's clips, in the order in which they are asked for; the same for every contestant."""
    short = mixed(clips, "mixed", extent.clips)
    random.Random(0).shuffle(short)
    long = long_clip(short, extent.stand_in_s, scratch)
    few = tuple(mixed(short, "mixed", extent.few))
    return {SHORT: tuple(short), ONE_LONG: (long,), MIX: (long, *short), FEW: few}


def requests(clips: Workloads, name: str, callers: int) -> tuple[Clip, ...]:
    """A workload for so many callers; short clips come round again until each caller has some."""
    count = max(len(clips[name]), PER_CALLER * callers if name == SHORT else 0)
    return tuple(islice(cycle(clips[name]), count))


def long_clip(short: Sequence[Clip], stand_in_s: float | None, scratch: Path) -> Clip:
    """The recording of 8 minutes where it is at hand and wanted, else short ones end to end."""
    if stand_in_s is None and LONG.is_file():
        return next(clip for clip in load_clips(LONG.parent) if clip.name == LONG.name)
    return stitched(short, stand_in_s or LONG_S, scratch / "stitched.flac")


def stitched(clips: Sequence[Clip], seconds: float, file: Path) -> Clip:
    """Clips with pauses between them, again and again, until the whole lasts so long; written to `file`."""
    pause, parts, texts, length = np.zeros(int(PAUSE_S * SAMPLE_RATE), np.float32), [], [], 0
    for clip in cycle(clips):
        parts += [samples_of(clip), pause]
        texts.append(clip.text)
        length += len(parts[-2]) + len(pause)
        if length >= seconds * SAMPLE_RATE:
            break
    soundfile.write(file, np.concatenate(parts), SAMPLE_RATE)
    return Clip(file, " ".join(texts), length / SAMPLE_RATE)
