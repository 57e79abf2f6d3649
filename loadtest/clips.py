"""A folder of recordings in, the clips of a run out: their words, their lengths, a mix of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import soundfile

from loadtest import speech
from loadtest.errors import CannotRun
from whisper_serve.errors import WeightsError

MANIFEST = "manifest.jsonl"  # one JSON object a line: path, transcript, and duration_s where it is known
DEFAULT = speech.SHARED / "librispeech-test-clean"
COUNT = 32  # clips of a run: few enough to ask each once before it

MIXES = {  # seconds of the clips that are taken: at least, at most
    "short": (0.0, 5.0),
    "long": (10.0, 3600.0),
    "mixed": (0.0, 30.0),
}


@dataclass(frozen=True, slots=True)
class Clip:
    path: str  # absolute
    text: str  # the words spoken in it
    seconds: float

    @property
    def name(self) -> str:
        return Path(self.path).name


def load_clips(folder: Path) -> list[Clip]:
    """The clips under a folder whose words a manifest, in it or in its parent, tells."""
    folder = folder.resolve()
    manifest = next((p for p in (folder / MANIFEST, folder.parent / MANIFEST) if p.is_file()), None)
    if manifest is None:
        raise CannotRun(f"no {MANIFEST} in {folder} nor beside it")
    entries = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
    clips = []
    for entry in entries:
        path = (manifest.parent / entry["path"]).resolve()
        if entry.get("transcript") and folder in path.parents:
            clips.append(Clip(str(path), entry["transcript"], entry.get("duration_s") or seconds_of(path)))
    return clips


def default_clips() -> list[Clip]:
    """LibriSpeech where it is at hand, else the few clips that can be fetched."""
    if DEFAULT.is_dir():
        return load_clips(DEFAULT)
    try:
        return [Clip(str(c.path), c.text, seconds_of(c.path)) for c in speech.clips()]
    except WeightsError as e:
        raise CannotRun(f"no speech to load a service with: {e}") from e


def seconds_of(path: Path) -> float:
    return float(soundfile.info(path).duration)


def mixed(clips: Sequence[Clip], mix: str, count: int) -> list[Clip]:
    """At most `count` clips of a mix, evenly over their lengths, so that few stand for all."""
    least, most = MIXES[mix]
    fit = sorted((c for c in clips if least <= c.seconds <= most), key=lambda c: (c.seconds, c.path))
    if not fit:
        raise CannotRun(f"none of the {len(clips)} clips lasts {least:g} to {most:g} s")
    count = min(count, len(fit))
    return [fit[(2 * i + 1) * len(fit) // (2 * count)] for i in range(count)]


def digest(clips: Sequence[Clip]) -> str:
    """Eight hex digits that name this choice of clips, whatever folder they lie in."""
    names = "\n".join(sorted(f"{c.name} {c.text}" for c in clips))
    return sha256(names.encode()).hexdigest()[:8]
