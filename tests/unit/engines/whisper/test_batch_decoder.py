"""What is decoded together, what is decoded again, and what becomes of it, with a model that follows a script."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.scripted_whisper import TIMESTAMP_BEGIN, ScriptedModel, decoded, tokens
from whisper_serve.engines.whisper.batch_decoder import is_cut_off, is_speech, needs_full_context
from whisper_serve.engines.whisper.engine import WhisperEngine
from whisper_serve.engines.whisper.model import Decoded
from whisper_serve.engines.whisper.prompt import MAX_NEW_TOKENS
from whisper_serve.engines.whisper.request import FULL_FRAMES, DecodeRequest
from whisper_serve.errors import BadAudio, BadRequest
from whisper_serve.types import SAMPLE_RATE, Options, Segment, Window, WindowResult


def window(seconds: float, **options: Any) -> Window:
    samples = np.full(round(seconds * SAMPLE_RATE), seconds / 100, np.float32)
    samples[: SAMPLE_RATE // 10] = 0  # or it would get a lead-in
    return Window(samples, 0.0, replace(Options(language="en"), **options))


def segments(outcome: object) -> tuple[Segment, ...]:
    assert isinstance(outcome, WindowResult), outcome
    return outcome.segments


def lengths(model: ScriptedModel) -> list[list[int]]:
    """Of the audio in each batch, in seconds."""
    return [[round(request.seconds) for request in batch] for batch in model.batches]


def test_results_come_in_the_order_of_the_windows_whatever_their_lengths() -> None:
    model = ScriptedModel({9: [decoded(" nine")], 2: [decoded(" two")], 5: [decoded(" five")]})
    outcomes = model.transcribe(window(9), window(2), window(5))
    assert [segments(o)[0].text for o in outcomes] == [" nine", " two", " five"]


def test_windows_that_are_all_known_are_batched_by_key_and_length() -> None:
    model = ScriptedModel({2: [decoded(" a")], 20: [decoded(" a")]}, largest_batch=2)
    model.transcribe(*(window(s) for s in (2, 20, 2, 20, 2)), window(2, temperature=0.4))
    assert lengths(model) == [[2, 2], [2], [20, 20], [2]]


def test_what_is_given_as_one_batch_runs_as_one() -> None:
    model = ScriptedModel({2: [decoded(" a")], 20: [decoded(" a")]})
    engine = WhisperEngine(model)
    asked: list[dict[str, Any]] = [{}, {"language": None}, {"word_timestamps": True}, {"logprobs": True}]
    engine.transcribe(
        [engine.prepare(window(s, **options)) for s, options in zip((2, 20, 2, 2), asked, strict=True)]
    )
    assert lengths(model) == [[2, 20, 2, 2]]
    assert model.detected == [1]


def test_only_those_that_ask_for_words_are_aligned() -> None:
    model = ScriptedModel({5: [decoded(" a")]})
    plain, timed = model.transcribe(window(5), window(5, word_timestamps=True))
    assert segments(plain)[0].words == ()
    assert [w.text for w in segments(timed)[0].words] == [" a"]


@pytest.mark.parametrize(
    "wrong",
    [
        decoded(" no" * 60),
        decoded(" that is unlikely", logprob=-0.9),
        decoded(" incomprehensibilities" * 8),
        decoded(" ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha"),
    ],
    ids=["too many tokens", "unlikely", "too many characters", "repeats"],
)
def test_where_a_short_context_was_not_enough_the_full_one_is_used(wrong: Decoded) -> None:
    model = ScriptedModel({5: [wrong, decoded(" right")]})
    (outcome,) = model.transcribe(window(5))
    assert [s.text for s in segments(outcome)] == [" right"]
    assert [(b[0].frames, b[0].max_tokens) for b in model.batches] == [
        (800, 56),
        (FULL_FRAMES, MAX_NEW_TOKENS),
    ]


def test_the_rest_of_a_window_is_decoded_where_the_model_stopped_early() -> None:
    model = ScriptedModel({12: [decoded(0.0, " One.", 4.0)], 8: [decoded(0.0, " Two.", 7.5)]})
    (outcome,) = model.transcribe(window(12, language=None))
    assert [(s.start, s.end, s.text) for s in segments(outcome)] == [
        (0.0, 4.0, " One."),
        (4.0, 11.5, " Two."),
    ]
    assert [b[0].options.language for b in model.batches] == [None, "fr"]
    assert isinstance(outcome, WindowResult)
    assert (outcome.language, outcome.language_probability) == ("fr", 0.9)


def test_the_rest_of_what_is_hardly_speech_is_left_alone() -> None:
    model = ScriptedModel({12: [decoded(0.0, " you", 2.0, logprob=-0.7, no_speech=0.9)]})
    (outcome,) = model.transcribe(window(12))
    assert [s.text for s in segments(outcome)] == [" you"]
    assert len(model.batches) == 1


def test_a_sentence_that_ran_out_of_tokens_is_decoded_again_from_its_beginning() -> None:
    many = " ".join(chr(c) for c in range(0x2E80, 0x2E80 + 115))
    model = ScriptedModel({28: [decoded(0.0, " One.", 20.0, 20.0, many)], 8: [decoded(0.0, " Two.", 8.0)]})
    (outcome,) = model.transcribe(window(28))
    assert [(s.start, s.text) for s in segments(outcome)] == [(0.0, " One."), (20.0, " Two.")]


def test_a_sentence_cut_off_by_the_end_of_the_window_is_finished() -> None:
    whole, cut_off = decoded(0.0, " One.", 4.0, 5.0, " Two.", 29.0), decoded(0.0, " One.", 26.0, 26.0)
    model = ScriptedModel({29: [whole], 28: [cut_off, decoded(" And")]})
    first, finished = model.transcribe(window(29), window(28, logprobs=True))
    assert [s.text for s in segments(first)] == [" One.", " Two."]
    assert [s.text for s in segments(finished)] == [" One.", " And"]
    assert [len(s.logprobs) for s in segments(finished)] == [2, 1]
    assert model.prefixes == [(), [tokens(" One.")]]


REQUEST = DecodeRequest(np.zeros(10 * SAMPLE_RATE, np.float32), 0.0, Options("en"), (), max_tokens=64)


@pytest.mark.parametrize(
    ("characters", "tokens", "logprob", "ratio", "needed"),
    [
        (260, 63, -0.8, 1.9, False),
        (261, 63, -0.8, 1.9, True),  # more than anybody says in ten seconds
        (260, 64, -0.8, 1.9, True),  # all that there was room for
        (260, 63, -0.81, 1.9, True),
        (260, 63, -0.8, 1.91, True),
    ],
)
def test_each_sign_alone_shows_that_a_short_context_was_not_enough(
    characters: int, tokens: int, logprob: float, ratio: float, needed: bool
) -> None:
    segments = [Segment(0, 4, "a" * 200), Segment(4, 9, "b" * (characters - 200), compression_ratio=ratio)]
    said = Decoded((400,) * tokens, logprob * (tokens + 1), 0.0)
    assert needs_full_context(segments, said, REQUEST) == needed


@pytest.mark.parametrize(
    ("logprob", "no_speech", "speech"),
    [
        (-1.0, 0.6, True),
        (-1.01, 0.0, False),
        (-0.51, 0.6, True),
        (-0.51, 0.61, False),
        (-0.5, 0.99, True),
        (-0.51, 0.0, True),
    ],
)
def test_speech_is_likely_words_or_fairly_likely_ones_where_silence_is_not_likelier(
    logprob: float, no_speech: float, speech: bool
) -> None:
    assert is_speech(Decoded((400,), 2 * logprob, no_speech)) == speech


@pytest.mark.parametrize(
    ("parts", "cut_off"),
    [
        ((0.0, " One.", 26.0, 26.0), True),
        ((0.0, " One.", 26.0, 27.5), True),
        ((0.0, " One.", 26.0, 27.52), False),  # too close to the end of the window to hold a sentence
        ((0.0, " One.", 26.0), False),
        ((0.0, " One.", 26.0, 26.0, " Two"), False),
        ((0.0, 0.0), False),
        ((0.0,), False),
        ((), False),
    ],
)
def test_a_sentence_is_cut_off_where_only_the_time_of_its_begin_is_named(
    parts: tuple[str | float, ...], cut_off: bool
) -> None:
    assert is_cut_off(decoded(*parts), 28.0, TIMESTAMP_BEGIN) == cut_off
    assert not is_cut_off(decoded(*parts, logprob=-1.1), 28.0, TIMESTAMP_BEGIN)


@pytest.mark.parametrize(("stopped_s", "batches"), [(0.98, 1), (1.0, 2), (11.0, 2), (11.02, 1)])
def test_a_rest_is_decoded_where_it_and_what_came_before_are_a_second_long(
    stopped_s: float, batches: int
) -> None:
    rest = round(12 - stopped_s, 2)
    model = ScriptedModel({12: [decoded(0.0, " One.", stopped_s)], rest: [decoded(" Two.")]})
    model.transcribe(window(12))
    assert len(model.batches) == batches


def test_words_are_aligned_without_timestamps() -> None:
    model = ScriptedModel({5: [decoded(0.0, " One.", 2.0, 2.0, " Two.", 5.0)]})
    model.transcribe(window(5, word_timestamps=True))
    assert model.aligned == [tokens(" One.", " Two.")]


def test_what_breaks_the_model_breaks_the_batch() -> None:
    with pytest.raises(RuntimeError, match="no such length"):
        ScriptedModel({5: [decoded(" fine")]}).transcribe(window(5), window(6))


def test_what_the_model_cannot_do_is_refused_without_inference() -> None:
    model = ScriptedModel({5: [decoded(" fine")]})
    noise = replace(window(5), samples=np.full(5 * SAMPLE_RATE, np.nan, np.float32))
    *wrong, fine = model.transcribe(window(31), window(5, language="xx"), noise, window(5))
    assert [type(o) for o in wrong] == [BadRequest, BadRequest, BadAudio]
    assert segments(fine)
    assert lengths(model) == [[5]]


def test_no_windows_give_no_outcomes() -> None:
    assert ScriptedModel({}).transcribe() == []


def test_sound_that_begins_at_once_gets_a_lead_in_and_times_count_from_its_own_beginning() -> None:
    at_once = Window(np.full(5 * SAMPLE_RATE, 0.1, np.float32), 0.0, Options("en"))
    model = ScriptedModel({5.2: [decoded(0.0, " One.", 1.2, 1.2, " Two.", 5.0)]})
    one, two = segments(model.transcribe(at_once)[0])
    assert [one.start, one.end] == pytest.approx([0.0, 1.0])
    assert [two.start, two.end] == pytest.approx([1.0, 4.8])
    assert not model.batches[0][0].samples[: SAMPLE_RATE // 5].any()


def test_a_full_window_has_no_room_for_a_lead_in() -> None:
    full = Window(np.full(30 * SAMPLE_RATE, 0.1, np.float32), 0.0, Options("en"))
    model = ScriptedModel({30: [decoded(0.0, " One.", 30.0)]})
    assert segments(model.transcribe(full)[0])[0].end == 30.0


def test_the_language_is_the_likeliest_of_those_that_are_allowed() -> None:
    model = ScriptedModel({5: [decoded(" a")]})
    asked: list[dict[str, Any]] = [{}, {"languages": ("en", "de")}, {"languages": ("German",)}]
    outcomes = model.transcribe(*(window(5, language=None, **options) for options in asked))
    assert [o.language for o in outcomes if isinstance(o, WindowResult)] == ["fr", "de", "de"]
    assert [o.language_probability for o in outcomes if isinstance(o, WindowResult)] == [0.9, 0.08, 0.08]


def test_a_language_that_is_given_is_detected_too_only_where_it_is_to_be_checked() -> None:
    model = ScriptedModel({5: [decoded(" a")]})
    plain, checked = model.transcribe(window(5), replace(window(5), check_language=True))
    assert isinstance(plain, WindowResult)
    assert isinstance(checked, WindowResult)
    assert (plain.language, plain.spoken_language, plain.language_probability) == ("en", "", 1.0)
    assert (checked.language, checked.spoken_language, checked.language_probability) == ("en", "fr", 1.0)
    assert checked.spoken_probability == 0.9
    assert model.detected == [1]


def test_a_language_that_the_model_does_not_know_cannot_be_allowed() -> None:
    model = ScriptedModel({5: [decoded(" a")]})
    with pytest.raises(BadRequest, match="yue"):
        WhisperEngine(model).prepare(window(5, language=None, languages=("en", "yue")))
