import numpy as np
import pytest

from loadtest.quality.edges import FIRST_SOUND, cut, ends
from whisper_serve.types import SAMPLE_RATE


@pytest.mark.parametrize(
    ("text", "first", "last", "edits"),
    [
        ("Printing, in the only sense.", "equal", "equal", 0),
        ("in the only sense", "delete", "equal", 1),
        ("Pointing in the only", "substitute", "delete", 2),
        ("", "delete", "delete", 5),
    ],
)
def test_an_edge_s_word_is_there_or_lost_or_wrong(text: str, first: str, last: str, edits: int) -> None:
    found = ends("PRINTING IN THE ONLY SENSE", text, "en")
    assert (found.first, found.last, found.edits, found.words) == (first, last, edits, 5)


def test_a_cut_is_in_seconds_or_up_to_the_first_sound() -> None:
    sound = np.sin(np.arange(SAMPLE_RATE, dtype=np.float32))
    late = np.concatenate([np.zeros(SAMPLE_RATE // 2, np.float32), sound])
    assert len(cut(late, 0.1)) == len(late) - SAMPLE_RATE // 10
    begun = cut(late, FIRST_SOUND)
    assert 0 <= len(begun) - SAMPLE_RATE <= SAMPLE_RATE // 50
