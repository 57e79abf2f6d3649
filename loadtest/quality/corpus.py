"""Recordings of the corpus, by what they are there to show, and the service's answers to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from loadtest.common.clips import Clip, read_manifest
from whisper_serve.types import Segment, Transcript

CLEAN, OTHER = "librispeech-test-clean", "librispeech-test-other"
LONG = "longform"
NONSPEECH = "nonspeech"
ENGLISH = (CLEAN, OTHER, LONG)  # asked for with their language; in the others it is to be detected
LEFT_OUT = ("formats", "invalid")  # the same sentence in every container; no audio at all
QUICK = 6  # recordings of a part in a quick run


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine made of a recording."""

    engine: str
    recording: Clip
    transcript: Transcript

    @property
    def text(self) -> str:
        return self.transcript.text

    @property
    def unfiltered(self) -> str:
        """What would be the text with all filters off: they choose among segments, and change none."""
        segments: Iterable[Segment] = (
            *self.transcript.segments,
            *(d.segment for d in self.transcript.dropped),
        )
        return "".join(s.text for s in sorted(segments, key=lambda s: (s.start, s.end))).strip()


def full_name(recording: Clip) -> str:
    return f"{recording.part}/{recording.name}"


def load_recordings(folder: Path, quick: bool = False) -> list[Clip]:
    """What the manifest lists, shortest first; raises CannotRun where there is none.

    Quick: a few of each part, evenly over their lengths, and none of the long ones.
    """
    found = [r for r in read_manifest(folder) if r.part not in LEFT_OUT]
    found.sort(key=lambda r: (r.seconds, full_name(r)))
    return few(found) if quick else found


def few(recordings: list[Clip]) -> list[Clip]:
    """Evenly spread over each part and language, so that none is missing."""
    parts: dict[tuple[str, str | None], list[Clip]] = {}
    for recording in recordings:
        if recording.part != LONG:
            parts.setdefault((recording.part, recording.language), []).append(recording)
    chosen = {r.path for part in parts.values() for r in part[:: -(-len(part) // QUICK)]}
    return [r for r in recordings if r.path in chosen]
