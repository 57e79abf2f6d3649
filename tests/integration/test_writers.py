"""Compare our subtitle formats with openai-whisper's own writers, on the same words."""

import io
import random
from typing import Any

import pytest
from whisper.utils import WriteSRT, WriteTSV, WriteTXT

from whisper_serve.text.formats import FORMATS, RenderOptions
from whisper_serve.text.subtitles import Layout
from whisper_serve.types import Segment, Transcript, Word

LAYOUTS = [
    Layout(),
    Layout(max_line_width=12),
    Layout(max_line_count=1),
    Layout(max_line_width=12, max_line_count=1),
    Layout(max_line_width=30, max_line_count=2),
    Layout(max_line_width=42, max_line_count=3, max_words_per_line=2),
    Layout(max_words_per_line=1),
    Layout(max_words_per_line=4),
    Layout(max_line_width=20, max_words_per_line=5),
]


def transcript(seed: int) -> Transcript:
    """Segments of words of many lengths, with pauses short and long."""
    generator = random.Random(seed)
    segments, now = [], 0.0
    for _ in range(generator.randint(0, 6)):
        words = []
        for _ in range(generator.randint(1, 14)):
            now += generator.choice([0.0, 0.0, 0.1, 0.5, 4.0])
            end = now + 0.01 + generator.random()
            words.append(Word(now, end, " " + "x" * generator.randint(1, 9), 1.0))
            now = end
        text = "".join(word.text for word in words)
        segments.append(Segment(words[0].start, words[-1].end, text, words=tuple(words)))
    return Transcript(tuple(segments), now)


def as_whisper(t: Transcript) -> dict[str, Any]:
    return {
        "segments": [
            {
                "start": s.start,
                "end": s.end,
                "text": s.text,
                "words": [{"word": w.text, "start": w.start, "end": w.end} for w in s.words],
            }
            for s in t.segments
        ]
    }


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_srt_breaks_lines_as_openai_whisper_does(layout: Layout) -> None:
    options = {name: getattr(layout, name) for name in layout.__slots__}
    for seed in range(60):
        theirs = io.StringIO()
        WriteSRT(".").write_result(as_whisper(transcript(seed)), theirs, options)
        ours = FORMATS["srt"].render(transcript(seed), RenderOptions(layout=layout))
        assert (ours + "\n").strip() == theirs.getvalue().strip(), seed


@pytest.mark.parametrize(("name", "writer"), [("tsv", WriteTSV), ("txt", WriteTXT)])
def test_tsv_and_txt_are_the_same_as_of_openai_whisper(name: str, writer: type[Any]) -> None:
    for seed in range(60):
        theirs = io.StringIO()
        writer(".").write_result(as_whisper(transcript(seed)), theirs)
        assert FORMATS[name].render(transcript(seed), RenderOptions()) == theirs.getvalue(), seed
