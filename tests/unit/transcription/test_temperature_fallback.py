"""When a window is transcribed again at a higher temperature, and which of its results is taken."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whisper_serve.text.filters import Thresholds
from whisper_serve.transcription.temperature_fallback import transcribe_with_fallback
from whisper_serve.types import Options, Samples, Segment, Window, WindowResult

TEMPERATURES = (0.0, 0.2, 0.4)
SILENCE: Samples = np.zeros(160, np.float32)


def said(text: str, **figures: Any) -> WindowResult:
    """A text with the figures of its one segment."""
    return WindowResult((Segment(0.0, 1.0, text, **figures),), "en")


def transcribed(options: Options, *results: WindowResult) -> tuple[WindowResult, list[Options]]:
    """What becomes of a window whose attempts give these results; and the options of each attempt."""
    attempts: list[Options] = []

    async def infer(window: Window) -> WindowResult:
        attempts.append(window.options)
        return results[len(attempts) - 1]

    window = Window(SILENCE, 0.0, options)
    return asyncio.run(transcribe_with_fallback(window, infer, TEMPERATURES, Thresholds())), attempts


def words(*results: WindowResult) -> list[str]:
    """The texts of the result that is taken."""
    return [segment.text for segment in transcribed(Options(), *results)[0].segments]


def temperatures(options: Options, *results: WindowResult) -> list[float]:
    return [one.temperature for one in transcribed(options, *results)[1]]


REPETITIVE = said("la la", compression_ratio=2.5, avg_logprob=-0.1)
UNLIKELY = said("sung", avg_logprob=-1.1)
SONG = said("song")


def test_each_attempt_is_at_the_next_temperature_until_one_is_believed() -> None:
    assert temperatures(Options(), SONG) == [0.0]
    assert temperatures(Options(), REPETITIVE, SONG) == [0.0, 0.2]
    assert temperatures(Options(), REPETITIVE, UNLIKELY, SONG) == [0.0, 0.2, 0.4]
    assert words(REPETITIVE, UNLIKELY, SONG) == ["song"]


def test_a_text_that_is_believed_is_taken_even_where_one_before_it_was_likelier() -> None:
    mixed = replace(UNLIKELY, segments=UNLIKELY.segments + SONG.segments)  # -0.55 in the mean
    assert words(mixed, said("quite", avg_logprob=-0.9)) == ["quite"]


def test_figures_that_just_reach_the_thresholds_are_believed() -> None:
    assert temperatures(Options(), said("so", compression_ratio=2.4, avg_logprob=-1.0)) == [0.0]
    assert temperatures(Options(), said("so", compression_ratio=2.41), SONG) == [0.0, 0.2]
    assert temperatures(Options(), said("so", avg_logprob=-1.01), SONG) == [0.0, 0.2]


def test_what_is_hardly_speech_is_not_tried_again() -> None:
    assert temperatures(Options(), said("hm", avg_logprob=-2.0, no_speech_prob=0.31)) == [0.0]
    assert temperatures(Options(), said("hm", avg_logprob=-2.0, no_speech_prob=0.3), SONG) == [0.0, 0.2]


def test_one_segment_of_many_is_enough_to_try_again() -> None:
    both = replace(SONG, segments=SONG.segments + REPETITIVE.segments)
    assert words(both, SONG) == ["song"]


def test_an_empty_window_is_not_tried_again() -> None:
    assert temperatures(Options(), WindowResult((), "en")) == [0.0]


def test_a_temperature_that_was_asked_for_is_kept() -> None:
    assert temperatures(Options(temperature=0.3), REPETITIVE) == [0.3]


@pytest.mark.parametrize("likeliest", [0, 1, 2])
def test_where_no_attempt_is_believed_the_likeliest_is_taken(likeliest: int) -> None:
    attempts = [said(f"{i}", avg_logprob=-1.2 if i == likeliest else -1.5) for i in range(3)]
    assert words(*attempts) == [f"{likeliest}"]


def test_where_no_attempt_is_believed_an_unlikely_text_is_taken_before_a_repetitive_one() -> None:
    assert words(REPETITIVE, UNLIKELY, REPETITIVE) == ["sung"]
    assert words(*[REPETITIVE] * 3) == ["la la"]
    assert words(said("so so", compression_ratio=2.4, avg_logprob=-1.05), UNLIKELY, UNLIKELY) == ["so so"]


def test_the_likelihood_of_a_text_is_the_mean_over_its_segments() -> None:
    mixed = WindowResult(tuple(Segment(0.0, 1.0, "x", avg_logprob=p) for p in (-0.2, -0.2, -2.0)), "en")
    assert words(mixed, UNLIKELY, UNLIKELY) == ["x"] * 3  # -0.8 and -1.1


def test_later_attempts_are_told_the_language_that_the_first_has_found() -> None:
    found = replace(REPETITIVE, language="it", language_probability=0.4)
    result, attempts = transcribed(Options(prompt="opera"), found, UNLIKELY, replace(SONG, language="it"))
    later = [Options("it", prompt="opera", temperature=temperature) for temperature in (0.2, 0.4)]
    assert attempts == [Options(prompt="opera"), *later]
    assert (result.language, result.language_probability) == ("it", 0.4)


def test_the_times_are_those_of_all_attempts_together() -> None:
    result, _ = transcribed(
        Options(),
        replace(REPETITIVE, inference_s=1.0, batch_inference_s=3.0),
        replace(SONG, inference_s=0.5, batch_inference_s=4.0),
    )
    assert (result.inference_s, result.batch_inference_s) == (1.5, 7.0)
