import pytest

from whisper_serve.text.subtitles import AS_SEGMENTS, Caption, Layout, captions
from whisper_serve.types import Segment, Word


def segment(text: str, start: float = 0.0, pause: float = 0.0) -> Segment:
    """A word a second, from `start`, with `pause` before the last."""
    words = text.split()
    starts = [start + i + (pause if i == len(words) - 1 else 0) for i in range(len(words))]
    timed = tuple(Word(at, at + 1, f" {word}", 1.0) for at, word in zip(starts, words, strict=True))
    return Segment(start, starts[-1] + 1, f" {text}", words=timed)


def texts(segments: list[Segment], layout: Layout) -> list[str]:
    return [caption.text for caption in captions(segments, layout)]


def test_without_a_layout_each_segment_is_a_caption() -> None:
    found = captions([segment("one two"), segment("three", 2)], AS_SEGMENTS)
    assert found == [Caption(0, 2, "one two"), Caption(2, 3, "three")]


def test_lines_are_no_longer_than_asked_for() -> None:
    assert texts([segment("one two three four")], Layout(max_line_width=9)) == ["one two\nthree\nfour"]


def test_a_caption_has_no_more_lines_than_asked_for_and_the_times_of_its_words() -> None:
    found = captions([segment("one two three four")], Layout(max_line_width=9, max_line_count=2))
    assert found == [Caption(0, 3, "one two\nthree"), Caption(3, 4, "four")]


def test_with_width_and_count_captions_join_segments() -> None:
    segments = [segment("one two"), segment("three", 2)]
    assert texts(segments, Layout(max_line_width=40, max_line_count=2)) == ["one two three"]


def test_a_long_pause_separates_joined_segments() -> None:
    segments = [segment("one two"), segment("three", 6)]
    assert texts(segments, Layout(max_line_width=40, max_line_count=2)) == ["one two", "three"]


def test_with_only_width_or_count_a_caption_has_words_of_one_segment() -> None:
    segments = [segment("one two"), segment("three", 2)]
    assert texts(segments, Layout(max_line_width=40)) == ["one two", "three"]
    assert texts(segments, Layout(max_line_count=1)) == ["one two", "three"]


def test_a_caption_may_hold_so_many_words() -> None:
    found = captions([segment("one two three"), segment("four", 3)], Layout(max_words_per_line=2))
    assert [c.text for c in found] == ["one two", "three", "four"]
    assert [(c.start, c.end) for c in found] == [(0, 2), (2, 3), (3, 4)]


def test_a_segment_whose_words_are_not_known_is_shown_whole() -> None:
    assert texts([Segment(0, 1, " one two")], Layout(max_line_width=5)) == ["one two"]


@pytest.mark.parametrize("layout", [AS_SEGMENTS, Layout(max_line_width=5), Layout(max_words_per_line=1)])
def test_empty_lines_which_would_end_a_cue_are_removed(layout: Layout) -> None:
    assert texts([Segment(0, 1, " "), Segment(1, 2, " one\n\ntwo")], layout) == ["one  two"]
    assert captions([], layout) == []
