"""A recording and its transcript in, its text out: as it was answered, and as the filters found it."""

from dataclasses import dataclass

from loadtest.quality.corpus import Recording
from whisper_serve.types import Segment, Transcript


@dataclass(frozen=True, slots=True)
class Answer:
    engine: str
    recording: Recording
    transcript: Transcript

    @property
    def text(self) -> str:
        return self.transcript.text

    @property
    def unfiltered(self) -> str:
        """What would be the text with all filters off: they choose among segments, and change none."""
        return "".join(s.text for s in self.all_segments).strip()

    @property
    def all_segments(self) -> list[Segment]:
        """Kept and dropped, in time."""
        dropped = [d.segment for d in self.transcript.dropped]
        return sorted([*self.transcript.segments, *dropped], key=lambda s: (s.start, s.end))
