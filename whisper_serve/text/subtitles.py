"""Divide segments into captions and lines, for the subtitle formats.

Lines break as in openai-whisper's subtitle writers, whose options these are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from whisper_serve.text.labels import label_of
from whisper_serve.types import Segment, Word

MAX_PAUSE_S = 3.0  # a longer pause ends a caption, where captions may join segments


@dataclass(frozen=True, slots=True)
class Layout:
    """How captions are filled. With none of these set, each segment is one."""

    max_line_width: int | None = None  # characters
    max_line_count: int | None = None  # with max_line_width: captions may join segments
    max_words_per_line: int | None = None  # a new caption after as many; no effect with the other two


AS_SEGMENTS = Layout()


@dataclass(frozen=True, slots=True)
class Caption:
    start: float
    end: float
    text: str  # its lines, separated by newlines
    channel: int | None = None  # as in Segment
    speaker: str | None = None


def captions(segments: Sequence[Segment], layout: Layout) -> list[Caption]:
    """The captions of segments. In any layout but AS_SEGMENTS, a segment without words counts as a single word."""
    if layout == AS_SEGMENTS:
        texts = ((segment, on_one_line(segment.text).strip()) for segment in segments)
        return [Caption(s.start, s.end, text, s.channel, s.speaker) for s, text in texts if text]
    return list(_filled(segments, layout))


def on_one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _filled(segments: Sequence[Segment], layout: Layout) -> Iterator[Caption]:
    """A caption is of one channel and speaker; its label counts in the width of its first line."""
    keeps_segments = layout.max_line_count is None or layout.max_line_width is None
    width, most_lines = layout.max_line_width or inf, layout.max_line_count or inf
    lines: list[str] = []
    first = last = Word(0.0, 0.0, "", 1.0)  # of the caption
    for word, begins in _words(segments, layout.max_words_per_line):
        ends = begins if keeps_segments else word.start - last.start > MAX_PAUSE_S
        ends = ends or (word.channel, word.speaker) != (first.channel, first.speaker)
        label = len(label_of(first)) if len(lines) == 1 else 0
        if lines and not ends and label + len(lines[-1]) + len(word.text) <= width:
            lines[-1] += word.text
        else:
            if lines and (ends or len(lines) >= most_lines):
                yield _caption(first, last, lines)
                lines = []
            first = first if lines else word
            lines.append(word.text.strip())
        last = word
    if lines:
        yield _caption(first, last, lines)


def _caption(first: Word, last: Word, lines: Sequence[str]) -> Caption:
    return Caption(first.start, last.end, "\n".join(lines), first.channel, first.speaker)


def _words(segments: Sequence[Segment], group: int | None) -> Iterator[tuple[Word, bool]]:
    """Every word, and whether it is the first of its segment, or of a group of so many words in it."""
    for segment in segments:
        whole = Word(segment.start, segment.end, segment.text, 1.0, segment.channel, segment.speaker)
        words = [word for word in segment.words or (whole,) if word.text.strip()]
        for i, word in enumerate(words):
            yield replace(word, text=on_one_line(word.text)), i % (group or len(words)) == 0
