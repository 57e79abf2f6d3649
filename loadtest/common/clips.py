"""Recordings listed in a manifest: their words and lengths, and choices among them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import soundfile

from loadtest.common.errors import CannotRun

# One JSON object a line: path, transcript, and duration_s and language where known.
MANIFEST = "manifest.jsonl"
COUNT = 32  # clips of a run: few enough to ask for each once before it

MIXES = {  # seconds of the clips that are taken: at least, at most
    "short": (0.0, 5.0),
    "long": (10.0, 3600.0),
    "mixed": (0.0, 30.0),
}


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording."""

    path: Path  # absolute
    text: str  # the words spoken in it; empty: none, or unknown
    seconds: float
    language: str | None = "en"  # ISO 639-1; None: nobody speaks

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def part(self) -> str:
        """The folder it lies in, which is the part of the corpus that it belongs to."""
        return self.path.parent.name


def read_manifest(folder: Path) -> list[Clip]:
    """All recordings under a folder, by the manifest in it or in its parent. Raises CannotRun where there is none."""
    folder = folder.resolve()
    manifest = next((p for p in (folder / MANIFEST, folder.parent / MANIFEST) if p.is_file()), None)
    if manifest is None:
        raise CannotRun(f"no {MANIFEST} in {folder} nor beside it")
    found = []
    for line in filter(str.strip, manifest.read_text(encoding="utf-8").splitlines()):
        entry = json.loads(line)
        path = (manifest.parent / entry["path"]).resolve()
        if folder in path.parents:
            seconds = entry.get("duration_s") or seconds_of(path)
            found.append(Clip(path, entry.get("transcript") or "", seconds, entry.get("language", "en")))
    return found


def load_clips(folder: Path) -> list[Clip]:
    """The recordings of a folder's manifest whose words it gives."""
    return [clip for clip in read_manifest(folder) if clip.text]


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
    lines = "\n".join(sorted(f"{c.name} {c.text}" for c in clips))
    return sha256(lines.encode()).hexdigest()[:8]
