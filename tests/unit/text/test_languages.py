import pytest
from langcodes import Language

from whisper_serve.text.languages import LANGUAGES, language_code, language_codes


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
        ("nb", "no"),
        ("nb-NO", "no"),
        ("nob", "no"),
        ("nno", "nn"),
        ("jv", "jw"),
        ("jav", "jw"),
        ("eng", "en"),
        ("deu", "de"),
        ("ger", "de"),
        ("cmn", "zh"),
        ("cmn-Hans", "zh"),
        ("iw", "he"),
        ("fil", "tl"),
        ("swh", "sw"),
    ],
)
def test_a_language_is_known_by_its_code_its_name_and_its_region(given: str, code: str) -> None:
    assert language_code(given) == code


@pytest.mark.parametrize("given", ["xx", "klingon", "", "englisch", "gsw", "zxx", "a b"])
def test_a_language_whisper_does_not_know_has_no_code(given: str) -> None:
    assert language_code(given) is None


def test_there_are_a_hundred_languages() -> None:
    assert len(LANGUAGES) == 100


def test_every_language_but_cantonese_is_known_by_its_codes_of_three_letters() -> None:
    for code in LANGUAGES:
        three = {Language.get("jv" if code == "jw" else code).to_alpha3(variant=v) for v in ("B", "T")}
        assert {language_code(letters) for letters in three} == {code}, code


def test_languages_joined_by_commas_or_given_one_by_one_are_codes_each_once() -> None:
    assert language_codes(["en, deu,en"]) == language_codes(["english", "de"]) == ("en", "de")
    assert language_codes(["", ","]) == ()


@pytest.mark.parametrize("undetermined", ["und", "AUTO", "mul", "en,und"])
def test_an_undetermined_language_is_detected(undetermined: str) -> None:
    assert language_codes([undetermined]) == ()


def test_a_language_that_is_nearly_one_is_refused_with_a_guess() -> None:
    with pytest.raises(ValueError, match=r"'englisch' is not a language .* did you mean english\?"):
        language_codes(["de,englisch"])
