from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from whisper.audio import log_mel_spectrogram, pad_or_trim

from whisper_serve.engines import Outcome
from whisper_serve.engines.whisper.batch_decoder import (
    FULL_FRAMES,
    BatchDecoder,
    DecodeRequest,
    complete,
    log_mel,
)
from whisper_serve.engines.whisper.prompt import LONGEST_ANSWER, Vocabulary
from whisper_serve.engines.whisper.segments import Answer, Cut, Decoded, as_segments, cut
from whisper_serve.engines.whisper.word_timestamps import Timing, fit, settle
from whisper_serve.errors import BadAudio, BadRequest, ModelFailed
from whisper_serve.types import SAMPLE_RATE, Options, Segment, Window, WindowResult

BASE = Vocabulary(multilingual=True, languages=99)
TINY_EN = Vocabulary(multilingual=False, languages=99)
TOKENIZER = BASE.tokenizer()
ZERO: int = TOKENIZER.timestamp_begin


def at(seconds: float) -> int:
    return ZERO + round(seconds / 0.02)


def tokens(*parts: str | float) -> tuple[int, ...]:
    """A transcript: strings are text, numbers timestamps."""
    return tuple(t for p in parts for t in (TOKENIZER.encode(p) if isinstance(p, str) else [at(p)]))


def said(*parts: str | float, logprob: float = -0.1, no_speech: float = 0.0) -> Answer:
    ids = tokens(*parts)
    return Answer(ids, logprob * (len(ids) + 1), no_speech, tuple(logprob for _ in ids))


def window(seconds: float, **options: Any) -> Window:
    samples = np.full(round(seconds * SAMPLE_RATE), seconds / 100, np.float32)
    return Window(samples, 0.0, replace(Options(language="en"), **options))


def stretch(seconds: float) -> DecodeRequest:
    """Shown to the model with 30 s of context."""
    w = window(seconds)
    return DecodeRequest(0, w.samples, 0.0, w.options, (), FULL_FRAMES, LONGEST_ANSWER)


class Listener:
    """A model that answers from a script, and remembers what it was shown.

    The script goes by the length of the stretch in seconds; the last answer is repeated.
    """

    def __init__(self, **script: Sequence[Answer]) -> None:
        self.script = {float(k.strip("s").replace("_", ".")): list(v) for k, v in script.items()}
        self.passes: list[list[DecodeRequest]] = []

    def __call__(self, stretches: Sequence[DecodeRequest]) -> list[Decoded]:
        self.passes.append(list(stretches))
        if any(round(s.seconds, 2) not in self.script for s in stretches):
            raise RuntimeError("cannot hear this")
        return [Decoded(s.options.language or "fr", 0.9, self.answer(s)) for s in stretches]

    def answer(self, stretch: DecodeRequest) -> Answer:
        answers = self.script[round(stretch.seconds, 2)]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def hear(self, *windows: Window, adaptive: bool = True, largest_batch: int = 4) -> list[Outcome]:
        hearing = BatchDecoder(self, BASE, adaptive, largest_batch)
        return hearing.hear([hearing.prepare(one) for one in windows])


def heard(outcome: object) -> tuple[Segment, ...]:
    assert isinstance(outcome, WindowResult)
    return outcome.segments


def test_sentences_are_cut_between_pairs_of_timestamps() -> None:
    ids = tokens(0.0, " One.", 1.0, 1.5, " Two.", 2.0)
    assert cut(ids, 5.0, ZERO) == ([Cut(0, 4, 0.0, 1.0), Cut(4, 8, 1.5, 2.0)], 2.0)


def test_text_without_timestamps_lasts_as_long_as_its_stretch() -> None:
    assert cut(tokens(" One."), 5.0, ZERO) == ([Cut(0, 2, 0.0, 5.0)], 5.0)


def test_text_after_the_last_timestamp_is_kept() -> None:
    cuts, upto = cut(tokens(0.0, " One.", 1.0, 1.5, " Two"), 5.0, ZERO)
    assert (cuts[-1].start, cuts[-1].end, upto) == (1.5, 5.0, 5.0)


def test_nothing_said_gives_no_segment() -> None:
    assert cut((), 5.0, ZERO) == ([], 5.0)
    assert cut(tokens(0.0, 0.0), 5.0, ZERO) == ([], 0.0)


def test_segments_carry_the_figures_of_their_pass() -> None:
    answer = said(0.0, " One.", 1.0, 1.5, " Two.", 2.0, logprob=-0.25, no_speech=0.125)
    segments, _ = as_segments(Decoded("en", 1.0, answer), 5.0, 0.4, TOKENIZER, False)
    assert [s.text for s in segments] == [" One.", " Two."]
    assert {(s.avg_logprob, s.no_speech_prob, s.temperature) for s in segments} == {(-0.25, 0.125, 0.4)}
    assert [p.token for p in segments[0].logprobs] == [" One", "."]
    assert segments[0].logprobs[0].bytes == tuple(b" One")


def test_segments_stay_inside_their_stretch_and_what_begins_beyond_it_is_left_out() -> None:
    answer = said(0.0, " One.", 2.5, 2.5, " Two.", 3.0)
    segments, _ = as_segments(Decoded("en", 1.0, answer), 2.0, 0.0, TOKENIZER, False)
    assert [(s.start, s.end, s.text) for s in segments] == [(0.0, 2.0, " One.")]


def test_answers_come_in_the_order_of_the_windows_whatever_their_lengths() -> None:
    listener = Listener(s9=[said(" nine")], s2=[said(" two")], s5=[said(" five")])
    outcomes = listener.hear(window(9), window(2), window(5))
    assert [heard(o)[0].text for o in outcomes] == [" nine", " two", " five"]


def test_a_pass_holds_like_lengths_and_no_more_than_the_largest_batch() -> None:
    listener = Listener(s2=[said(" a")], s20=[said(" a")])
    listener.hear(*(window(s) for s in (2, 20, 2, 20, 2)), largest_batch=2)
    assert [[round(s.seconds) for s in batch] for batch in listener.passes] == [[2, 2], [2], [20, 20]]


def test_windows_that_ask_for_other_things_do_not_share_a_pass() -> None:
    listener = Listener(s5=[said(" a")])
    asked: list[dict[str, Any]] = [
        {},
        {"language": None},
        {"temperature": 0.4},
        {"word_timestamps": True},
        {"prompt": "a"},
        {},
    ]
    listener.hear(*(window(5, **options) for options in asked), adaptive=False)
    assert sorted(len(batch) for batch in listener.passes) == [1, 1, 1, 1, 2]


def test_short_speech_is_shown_with_a_margin_and_warm_passes_with_full_context() -> None:
    listener = Listener(s10=[said(" a")])
    listener.hear(window(10), window(10, temperature=0.2))
    assert sorted(batch[0].frames for batch in listener.passes) == [1312, FULL_FRAMES]
    listener.hear(window(10), adaptive=False)
    assert listener.passes[-1][0].frames == FULL_FRAMES


@pytest.mark.parametrize(
    "wrong",
    [
        said(" no" * 60),
        said(" that is unlikely", logprob=-0.9),
        said(" incomprehensibilities" * 8),
        said(" ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha"),
    ],
    ids=["too many tokens", "unlikely", "too many characters", "repeats"],
)
def test_what_a_short_context_misled_is_heard_again_in_full(wrong: Answer) -> None:
    listener = Listener(s5=[wrong, said(" right")])
    (outcome,) = listener.hear(window(5))
    assert [s.text for s in heard(outcome)] == [" right"]
    assert [(b[0].frames, b[0].max_tokens) for b in listener.passes] == [
        (800, 56),
        (FULL_FRAMES, LONGEST_ANSWER),
    ]


def test_the_rest_of_a_window_is_heard_where_the_model_stopped_early() -> None:
    listener = Listener(s12=[said(0.0, " One.", 4.0)], s8=[said(0.0, " Two.", 7.5)])
    (outcome,) = listener.hear(window(12, language=None))
    assert [(s.start, s.end, s.text) for s in heard(outcome)] == [(0.0, 4.0, " One."), (4.0, 11.5, " Two.")]
    assert [b[0].options.language for b in listener.passes] == [None, "fr"]


def test_the_rest_of_what_is_hardly_speech_is_left_alone() -> None:
    listener = Listener(s12=[said(0.0, " you", 2.0, logprob=-0.7, no_speech=0.9)])
    (outcome,) = listener.hear(window(12))
    assert [s.text for s in heard(outcome)] == [" you"]
    assert len(listener.passes) == 1


def test_a_sentence_that_ran_out_of_tokens_is_heard_again_from_its_beginning() -> None:
    many = " ".join(chr(c) for c in range(0x2E80, 0x2E80 + 115))
    listener = Listener(s28=[said(0.0, " One.", 20.0, 20.0, many)], s8=[said(0.0, " Two.", 8.0)])
    (outcome,) = listener.hear(window(28))
    assert [(s.start, s.text) for s in heard(outcome)] == [(0.0, " One."), (20.0, " Two.")]


def test_a_window_that_breaks_the_model_fails_alone() -> None:
    listener = Listener(s5=[said(" fine")])
    fine, broken, other = listener.hear(window(5), window(6), window(5), adaptive=False)
    assert heard(fine) == heard(other)
    assert isinstance(broken, ModelFailed)
    assert "cannot hear this" in str(broken)


def test_what_cannot_be_asked_is_answered_without_a_pass() -> None:
    listener = Listener(s5=[said(" fine")])
    noise = replace(window(5), samples=np.full(5 * SAMPLE_RATE, np.nan, np.float32))
    *wrong, fine = listener.hear(window(31), window(5, language="xx"), noise, window(5))
    assert [type(o) for o in wrong] == [BadRequest, BadRequest, BadAudio]
    assert heard(fine)
    assert [len(batch) for batch in listener.passes] == [1]


def test_no_windows_give_no_outcomes() -> None:
    assert Listener().hear() == []


def test_a_sentence_cut_off_by_the_end_of_the_window_is_finished() -> None:
    stretches = [stretch(30), stretch(30)]
    answers = [said(0.0, " One.", 4.0, 5.0, " Two.", 30.0), said(0.0, " One.", 27.0, 27.0)]
    asked: list[tuple[list[int], list[tuple[int, ...]]]] = []

    def go_on(rows: list[int], begun: list[tuple[int, ...]]) -> list[Answer]:
        asked.append((rows, begun))
        return [said(" And")]

    whole, finished = complete(answers, stretches, ZERO, go_on)
    assert whole == answers[0]
    assert finished.tokens == tokens(0.0, " One.", 27.0, 27.0, " And")
    assert len(finished.logprobs) == len(finished.tokens)
    assert asked == [([1], [tokens(" One.")])]


@pytest.mark.parametrize("given", ["de", "DE", "german", " German "])
def test_a_language_is_taken_by_code_or_name(given: str) -> None:
    assert BASE.code(given) == "de"


def test_a_language_the_model_does_not_know_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="English only"):
        TINY_EN.code("de")
    with pytest.raises(BadRequest, match="unknown language 'xx'"):
        TINY_EN.code("xx")
    with pytest.raises(BadRequest, match="does not know 'yue'"):
        BASE.code("yue")
    assert Vocabulary(multilingual=True, languages=100).code("yue") == "yue"
    assert (BASE.code(None), TINY_EN.code(None)) == (None, "en")


def test_a_long_prompt_keeps_its_last_words_and_hotwords_come_before_it() -> None:
    previous = BASE.previous(Options(prompt="far " * 500 + "near", hotwords="Kaliko"))
    assert len(previous) == LONGEST_ANSWER
    assert TOKENIZER.decode(list(previous[1:])).startswith(" Kaliko far far")
    assert TOKENIZER.decode(list(previous)).endswith(" far near")
    assert BASE.previous(Options(prompt=" ")) == ()


def test_hotwords_alone_never_fill_more_than_their_half() -> None:
    assert len(BASE.previous(Options(prompt="lost", hotwords="w " * 500))) == LONGEST_ANSWER


def test_a_prompt_cannot_give_the_model_commands() -> None:
    previous = BASE.previous(Options(prompt="<|translate|>"))
    assert TOKENIZER.translate not in previous
    assert TOKENIZER.decode(list(previous[1:])) == " <|translate|>"


def test_special_tokens_and_symbols_are_suppressed() -> None:
    suppressed = BASE.suppressed()
    assert {TOKENIZER.sot, TOKENIZER.no_speech, *TOKENIZER.encode("♪")[:1]} <= set(suppressed)
    assert TOKENIZER.eot not in suppressed


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
    resolved = fit(words, 0.0, 3.5, 0.5, 8.0)
    times = [t for w in resolved for t in (w.start, w.end)]
    assert times == sorted(times)
    assert times[0] == 0.5
    assert times[-1] == pytest.approx(3.7)  # it was drawn out over a pause; usual is at most 0.7 s


def test_mel_is_that_of_openai_whisper_on_padded_sound() -> None:
    ours = log_mel([stretch(5)], 80)
    theirs = log_mel_spectrogram(pad_or_trim(window(5).samples), 80)
    assert ours.shape == (1, 80, FULL_FRAMES)
    assert torch.equal(ours[0], theirs)
