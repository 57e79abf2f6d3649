import pytest

from tests.support.scripted_whisper import BASE, TOKENIZER
from whisper_serve.engines.whisper.prompt import MAX_PREVIOUS_TOKENS, PromptTokens
from whisper_serve.errors import BadRequest
from whisper_serve.types import Options

TINY_EN = PromptTokens(multilingual=False, languages=99)


@pytest.mark.parametrize("given", ["de", "DE", "german", " German "])
def test_a_language_is_taken_by_code_or_name(given: str) -> None:
    assert BASE.language_code(given) == "de"


def test_a_language_the_model_does_not_know_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="English only"):
        TINY_EN.language_code("de")
    with pytest.raises(BadRequest, match="unknown language 'xx'"):
        TINY_EN.language_code("xx")
    with pytest.raises(BadRequest, match="does not know 'yue'"):
        BASE.language_code("yue")
    assert PromptTokens(multilingual=True, languages=100).language_code("yue") == "yue"
    assert (BASE.language_code(None), TINY_EN.language_code(None)) == (None, "en")


def test_a_long_prompt_keeps_its_last_words_and_hotwords_come_before_it() -> None:
    previous = BASE.previous(Options(prompt="far " * 500 + "near", hotwords="Kaliko"))
    assert len(previous) == MAX_PREVIOUS_TOKENS
    assert TOKENIZER.decode(list(previous[1:])).startswith(" Kaliko far far")
    assert TOKENIZER.decode(list(previous)).endswith(" far near")
    assert BASE.previous(Options(prompt=" ")) == ()


def test_hotwords_alone_never_fill_more_than_their_half() -> None:
    previous = BASE.previous(Options(prompt="lost", hotwords="w " * 500))
    assert len(previous) == MAX_PREVIOUS_TOKENS


def test_a_prompt_cannot_give_the_model_commands() -> None:
    previous = BASE.previous(Options(prompt="<|translate|>"))
    assert TOKENIZER.translate not in previous
    assert TOKENIZER.decode(list(previous[1:])) == " <|translate|>"


def test_special_tokens_and_symbols_are_suppressed() -> None:
    suppressed = BASE.suppressed()
    assert {TOKENIZER.sot, TOKENIZER.no_speech, *TOKENIZER.encode("♪")[:1]} <= set(suppressed)
    assert TOKENIZER.eot not in suppressed
