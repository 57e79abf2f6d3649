"""Words that are to be written in a certain way."""

import random
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from whisper_serve.text.replacements import Phrases, replaced
from whisper_serve.types import Replacement, Segment, Word


def table(**entries: str) -> Phrases:
    return phrases({phrase.replace("_", " "): written for phrase, written in entries.items()})


def phrases(entries: dict[str, str]) -> Phrases:
    return Phrases(Replacement(phrase, written) for phrase, written in entries.items())


def text(said: str, *tables: Phrases) -> str:
    (segment,) = replaced([Segment(0, 1, said)], tables)
    return segment.text


KUBERNETES = phrases({"cooper netties": "Kubernetes", "jay son": "JSON", "gonna": "going to"})


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (" We run cooper netties.", " We run Kubernetes."),
        (" Cooper Netties, COOPER\tNETTIES!", " Kubernetes, Kubernetes!"),
        (" cooper netties's pods", " Kubernetes's pods"),
        (" cooper, netties", " cooper, netties"),
        (" trooper netties, cooper nettiesque", " trooper netties, cooper nettiesque"),
        (" Gonna go. I'm gonna. GONNA!", " Going to go. I'm going to. GOING TO!"),
        ("jay son jay son", "JSON JSON"),
        (" nothing of it", " nothing of it"),
        ("", ""),
    ],
)
def test_whole_words_are_replaced_in_the_case_they_had_or_were_given(said: str, written: str) -> None:
    assert text(said, KUBERNETES) == written


@pytest.mark.parametrize(
    ("entries", "said", "written"),
    [
        ({"strasse": "Straße"}, "die STRASSE, die straße", "die Straße, die Straße"),
        ({"café": "Café Noir"}, "au cafe\u0301, cafés", "au Café Noir, cafés"),
        ({"हिन्द": "भारत"}, "हिन्दी हिन्द", "हिन्दी भारत"),
        ({"クーバネティス": "Kubernetes"}, "私はクーバネティスを使う。", "私はKubernetesを使う。"),
        ({"gpt": "GPT"}, "使用gpt模型, egpt", "使用GPT模型, egpt"),
        ({"กรุงเทพ": "Bangkok"}, "ไปกรุงเทพวันนี้", "ไปBangkokวันนี้"),
        ({"ภา": "X"}, "ภาษา ภ่า", "Xษา ภ่า"),
        ({"c plus plus": "C++", "c++": "C++"}, "c plus plus, c++ and obj-c++", "C++, C++ and obj-C++"),
        ({"acme": "ACME"}, "l'acme de l’acme", "l'ACME de l’ACME"),
        ({"ﬁne": "fine"}, "fine", "fine"),
    ],
)
def test_words_of_any_script_are_found(entries: dict[str, str], said: str, written: str) -> None:
    assert text(said, phrases(entries)) == written


def test_the_longest_phrase_counts_then_the_first_table() -> None:
    first, second = table(new_york="NY"), table(new_york="NYC", new_york_times="NYT", york="Yorick")
    assert text("new york times, new york, york", first, second) == "NYT, NY, Yorick"
    assert text("new york", second, first) == "NYC"


def test_what_was_written_is_not_replaced_again() -> None:
    assert text("a b", table(a="b", b="a")) == "b a"


def segment(said: str, start: float = 0.0) -> Segment:
    """A word a second."""
    words = [f" {word}" for word in said.split()]
    timed = tuple(
        Word(start + i, start + i + 1, word, 0.9 - i / 10, channel=1) for i, word in enumerate(words)
    )
    return Segment(start, start + len(words), "".join(words), words=timed, channel=1)


def timed(*segments: Segment) -> list[tuple[float, float, str]]:
    return [(word.start, word.end, word.text) for s in segments for word in s.words]


def test_two_words_that_become_one_have_the_time_of_both() -> None:
    (found,) = replaced([segment("use cooper netties, now")], [KUBERNETES])
    assert timed(found) == [(0, 1, " use"), (1, 3, " Kubernetes,"), (3, 4, " now")]
    assert "".join(word.text for word in found.words) == found.text
    assert found.words[1].probability == pytest.approx(0.7)
    assert found.words[1].channel == 1


def test_one_word_that_becomes_two_is_divided_by_their_length() -> None:
    (found,) = replaced([segment("gonna go")], [KUBERNETES])
    assert timed(found) == [
        (0, pytest.approx(2 / 3), " going"),
        (pytest.approx(2 / 3), 1, " to"),
        (1, 2, " go"),
    ]


def test_as_many_words_keep_their_times() -> None:
    (found,) = replaced([segment("mister jon smith")], [table(jon_smith="John Smyth")])
    assert timed(found) == [(0, 1, " mister"), (1, 2, " John"), (2, 3, " Smyth")]


def test_words_without_spaces_are_joined_where_a_phrase_holds_them_together() -> None:
    words = tuple(Word(i, i + 1, char, 1.0) for i, char in enumerate(["私", "はク", "ー", "バ", "を"]))
    (found,) = replaced([Segment(0, 5, "私はクーバを", words=words)], [phrases({"クーバ": "Cuba"})])
    assert (found.text, timed(found)) == ("私はCubaを", [(0, 1, "私"), (1, 4, "はCuba"), (4, 5, "を")])


def test_a_phrase_in_two_segments_is_written_in_the_first() -> None:
    one, two = replaced([segment("we use cooper"), segment("netties a lot", 3)], [KUBERNETES])
    assert (one.text, two.text) == (" we use Kubernetes", " a lot")
    assert (one.start, one.end, two.start, two.end) == (0, 4, 4, 6)
    assert timed(one)[-1] == (2, 4, " Kubernetes")
    assert timed(two)[0] == (4, 5, " a")


def test_a_segment_that_nothing_is_left_of_is_gone() -> None:
    (only,) = replaced([segment("we use cooper"), segment("netties.", 3)], [KUBERNETES])
    assert (only.text, only.end, timed(only)[-1]) == (" we use Kubernetes.", 4, (2, 4, " Kubernetes."))
    first, last = replaced([Segment(0, 1, " cooper"), Segment(1, 2, " netties. Yes.")], [KUBERNETES])
    assert (first.text, last.text, last.start) == (" Kubernetes.", " Yes.", 1)


def test_segments_without_a_phrase_stay_as_they_are() -> None:
    segments = (segment("one two"), Segment(2, 3, ""), segment("three", 3))
    assert replaced(segments, [KUBERNETES]) == segments
    assert replaced(segments, []) == segments
    assert replaced([], [KUBERNETES]) == ()


def test_segments_beside_one_that_changes_stay_as_they_are() -> None:
    before, after = segment("one two"), segment("three", 4)
    found = replaced([before, segment("jay son", 2), Segment(4, 4, ""), after], [KUBERNETES])
    assert (found[0], found[2], found[3]) == (before, Segment(4, 4, ""), after)


def test_the_time_it_takes_grows_with_the_text_alone() -> None:
    """Phrases of which all but the end is found everywhere would make a backtracking search quadratic."""
    hostile = phrases({"a " * n + "b": "c" for n in range(1, 100)})

    def seconds(words: int) -> float:
        said = [Segment(0, 1, " a" * words)]
        began = time.process_time()
        replaced(said, [hostile])
        return time.process_time() - began

    short = min(seconds(200) for _ in range(3))
    assert min(seconds(2000) for _ in range(3)) < 30 * short


def test_however_a_text_is_divided_the_whole_is_the_same() -> None:
    said, written = " We run cooper netties, jay son's gonna", " We run Kubernetes, JSON's going to"
    chance = random.Random(0)
    for _ in range(300):
        cuts = [0, *sorted(chance.sample(range(1, len(said)), 8)), len(said)]
        words = [Word(a, b, said[a:b], 1.0) for a, b in pairwise(cuts)]
        at = chance.randint(1, 8)
        segments = [
            Segment(0, 0, "".join(w.text for w in ws), words=tuple(ws)) for ws in (words[:at], words[at:])
        ]
        found = replaced(segments, [KUBERNETES])
        assert "".join(s.text for s in found) == written
        assert all("".join(word.text for word in s.words) == s.text for s in found)
        bare = replaced([replace(s, words=()) for s in segments], [KUBERNETES])
        assert "".join(s.text for s in bare) == written
