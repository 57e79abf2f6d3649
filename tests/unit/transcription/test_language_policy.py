from dataclasses import replace

import numpy as np
import pytest

from whisper_serve.text.filters import DEFAULTS
from whisper_serve.transcription.language_policy import LanguagePolicy
from whisper_serve.types import Options, Window, WindowResult

SWEDISH, NORWEGIAN = WindowResult((), "sv"), WindowResult((), "no")


def window(language: str | None = None) -> Window:
    return Window(np.zeros(0, np.float32), 0.0, Options(language=language))


def test_windows_detect_their_language_until_it_is_settled_and_are_given_it_then() -> None:
    policy = LanguagePolicy(Options(), DEFAULTS)
    assert policy.with_language(window()).options.language is None
    policy.settle(SWEDISH)
    assert policy.with_language(window()).options.language == "sv"


@pytest.mark.parametrize(("given", "settled"), [(None, "sv"), ("de", "de")])
def test_the_first_language_that_is_given_or_settled_stays(given: str | None, settled: str) -> None:
    policy = LanguagePolicy(Options(language=given), DEFAULTS)
    policy.settle(SWEDISH)
    policy.settle(NORWEGIAN)
    assert policy.language == settled


def test_a_language_differs_only_where_the_window_detected_another_than_the_settled_one() -> None:
    policy = LanguagePolicy(Options(), DEFAULTS)
    assert not policy.language_differs(window(), NORWEGIAN)
    policy.settle(SWEDISH)
    assert policy.language_differs(window(), NORWEGIAN)
    assert not policy.language_differs(window(), SWEDISH)
    assert not policy.language_differs(window("sv"), NORWEGIAN)
    assert not policy.language_differs(window(), None)


def test_with_multilingual_no_language_is_settled() -> None:
    policy = LanguagePolicy(Options(multilingual=True), DEFAULTS)
    policy.settle(SWEDISH)
    assert policy.with_language(window()).options.language is None
    assert not policy.language_differs(window(), NORWEGIAN)


@pytest.mark.parametrize(("given", "how"), [("sv", "given as Swedish"), (None, "detected as Swedish")])
def test_a_result_warns_where_another_language_is_surely_spoken(given: str | None, how: str) -> None:
    policy = LanguagePolicy(Options(language=given), DEFAULTS)
    policy.settle(SWEDISH)
    unsure = replace(SWEDISH, spoken_language="en", spoken_probability=0.5)
    same = replace(SWEDISH, spoken_language="sv", spoken_probability=0.99)
    assert policy.with_warning(SWEDISH) == SWEDISH
    assert policy.with_warning(unsure) == unsure
    assert policy.with_warning(same) == same
    (warning,) = policy.with_warning(replace(unsure, spoken_probability=0.9)).warnings
    assert how in warning
    assert "English is spoken" in warning
    assert warning.isascii()
