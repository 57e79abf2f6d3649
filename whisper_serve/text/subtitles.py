"""Divide segments into captions and lines, for the subtitle formats.

Lines break as in openai-whisper's subtitle writers, whose options these are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

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


def captions(segments: Sequence[Segment], layout: Layout) -> list[Caption]:
    """The captions of segments. In any layout but AS_SEGMENTS, a segment without words counts as a single word."""
    if layout == AS_SEGMENTS:
        return [Caption(s.start, s.end, text) for s in segments if (text := on_one_line(s.text).strip())]
    return list(_filled(segments, layout))


def on_one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _filled(segments: Sequence[Segment], layout: Layout) -> Iterator[Caption]:
    keeps_segments = layout.max_line_count is None or layout.max_line_width is None
    width, most_lines = layout.max_line_width or inf, layout.max_line_count or inf
    lines: list[str] = []
    start = end = before = 0.0
    for word, begins in _words(segments, layout.max_words_per_line):
        ends = begins if keeps_segments else word.start - before > MAX_PAUSE_S
        if lines and not ends and len(lines[-1]) + len(word.text) <= width:
            lines[-1] += word.text
        else:
            if lines and (ends or len(lines) >= most_lines):
                yield Caption(start, end, "\n".join(lines))
                lines = []
            start = start if lines else word.start
            lines.append(word.text.strip())
        end, before = word.end, word.start
    if lines:
        yield Caption(start, end, "\n".join(lines))


def _words(segments: Sequence[Segment], group: int | None) -> Iterator[tuple[Word, bool]]:
    """Every word, and whether it is the first of its segment, or of a group of so many words in it."""
    for segment in segments:
        whole = Word(segment.start, segment.end, segment.text, 1.0)
        words = [word for word in segment.words or (whole,) if word.text.strip()]
        for i, word in enumerate(words):
            text = on_one_line(word.text)
            yield Word(word.start, word.end, text, word.probability), i % (group or len(words)) == 0
