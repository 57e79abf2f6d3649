import pytest

from whisper_serve.text.languages import LANGUAGES, language_code


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("english", "en"),
        ("en-US", "en"),
        ("zh_TW", "zh"),
        ("Castilian", "es"),
        ("yue", "yue"),
    ],
)
def test_a_language_is_known_by_its_code_its_name_and_its_region(given: str, code: str) -> None:
    assert language_code(given) == code


@pytest.mark.parametrize("given", ["xx", "klingon", "", "englisch"])
def test_a_language_whisper_does_not_know_has_no_code(given: str) -> None:
    assert language_code(given) is None


def test_there_are_a_hundred_languages() -> None:
    assert len(LANGUAGES) == 100
