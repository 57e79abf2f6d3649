"""A folder of recordings with a manifest in, the recordings to hear out, by what they are there to show."""

import json
from dataclasses import dataclass
from pathlib import Path

from loadtest.clips import MANIFEST
from loadtest.errors import CannotRun

CLEAN, OTHER = "librispeech-test-clean", "librispeech-test-other"
LONG = "longform"
NONSPEECH = "nonspeech"
TOLD = (CLEAN, OTHER, LONG)  # heard with their language given; in the others it is to be detected
LEFT_OUT = ("formats", "invalid")  # the same sentence in every container; no audio at all
QUICK = 6  # recordings of a folder in a quick run


@dataclass(frozen=True, slots=True)
class Recording:
    path: Path
    folder: str  # the part of the corpus it belongs to
    language: str | None  # ISO 639-1; None: nobody speaks
    text: str  # the words spoken; "": none
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.folder}/{self.path.name}"

    @property
    def told(self) -> str | None:
        """The language to ask for."""
        return self.language if self.folder in TOLD else None


def load_recordings(folder: Path, quick: bool = False) -> list[Recording]:
    """What the manifest lists, shortest first; raises CannotRun where there is none.

    Quick: a few of each part, evenly over their lengths, and none of the long ones.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise CannotRun(f"no recordings to measure with: {manifest} is not there")
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
    recordings = sorted((as_recording(folder, row) for row in rows), key=lambda r: (r.seconds, r.name))
    recordings = [r for r in recordings if r.folder not in LEFT_OUT]
    return few(recordings) if quick else recordings


def as_recording(folder: Path, row: dict[str, str | float | None]) -> Recording:
    path = str(row["path"])
    language = row["language"]
    return Recording(
        folder / path,
        path.partition("/")[0],
        str(language) if language else None,
        str(row["transcript"]),
        float(row["duration_s"] or 0),
    )


def few(recordings: list[Recording]) -> list[Recording]:
    """Evenly spread over each part and language, so that none is missing."""
    parts: dict[tuple[str, str | None], list[Recording]] = {}
    for recording in recordings:
        if recording.folder != LONG:
            parts.setdefault((recording.folder, recording.language), []).append(recording)
    chosen = {r.name for part in parts.values() for r in part[:: -(-len(part) // QUICK)]}
    return [r for r in recordings if r.name in chosen]
