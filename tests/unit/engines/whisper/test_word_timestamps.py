import pytest

from whisper_serve.engines.whisper.word_timestamps import Timing, clamp, settle


def test_punctuation_belongs_to_its_word() -> None:
    words = [
        Timing(" Hi", [1], 0.0, 0.5, 0.9),
        Timing(",", [2], 0.5, 0.6, 0.9),
        Timing(" you", [3], 0.6, 1.0, 0.9),
    ]
    assert [w.word for w in settle(words) if w.word] == [" Hi,", " you"]


def test_words_are_in_order_inside_their_bounds() -> None:
    words = [
        Timing(" a", [1], 0.0, 1.0, 0.9),
        Timing(" b", [2], 0.9, 3.0, 0.9),
        Timing(" c", [3], 3.0, 9.0, 0.9),
    ]
    clamped = clamp(words, 0.0, 3.5, 0.5, 8.0)
    times = [t for w in clamped for t in (w.start, w.end)]
    assert times == sorted(times)
    assert times[0] == 0.5
    assert times[-1] == pytest.approx(3.7)  # it was drawn out over a pause; usual is at most 0.7 s
