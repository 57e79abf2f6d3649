"""Which tokens may come next: the filters in numpy against those of openai-whisper in torch."""

import numpy as np
import pytest
import torch
from whisper.decoding import ApplyTimestampRules, SuppressTokens

from whisper_serve.engines.openvino.logit_filters import LogitFilters, sample
from whisper_serve.engines.whisper.prompt import LATEST_FIRST_TIMESTAMP, PromptTokens

PROMPT = PromptTokens(multilingual=True, languages=99)
TOKENIZER = PROMPT.tokenizer("en", "transcribe")
BEGIN, SIZE = TOKENIZER.timestamp_begin, TOKENIZER.timestamp_begin + 1501
FILTERS = LogitFilters(TOKENIZER, PROMPT.suppressed())
GENERATED = {
    "nothing": [],
    "a first timestamp": [BEGIN + 2],
    "a word": [BEGIN, 400],
    "a sentence": [BEGIN, 400, 500, BEGIN + 90],
    "a sentence, and the begin of the next": [BEGIN, 400, BEGIN + 90, BEGIN + 90],
    "a word of the next": [BEGIN, 400, BEGIN + 90, BEGIN + 90, 700],
    "words without a time": [400, 500],
    "a word without a begin, and its end": [400, BEGIN + 90],
    "a word after the last of all timestamps": [BEGIN, 400, BEGIN + 1500, BEGIN + 1500, 700],
}


@pytest.mark.parametrize("lift", [-6.0, 6.0], ids=["words are likelier", "times are likelier"])
@pytest.mark.parametrize("generated", GENERATED.values(), ids=GENERATED)
def test_the_timestamp_rules_are_those_of_openai_whisper(generated: list[int], lift: float) -> None:
    logits = np.random.default_rng(len(generated)).normal(size=(2, SIZE)).astype(np.float32)
    logits[:, BEGIN:] += lift
    theirs, ours = torch.from_numpy(logits.copy()), logits.copy()
    tokens = torch.tensor([[TOKENIZER.sot, *generated]] * 2)
    SuppressTokens(PROMPT.suppressed()).apply(theirs, tokens)
    ApplyTimestampRules(TOKENIZER, 1, LATEST_FIRST_TIMESTAMP).apply(theirs, tokens)
    FILTERS.apply(ours, [generated] * 2, timestamps=True)
    assert np.array_equal(np.isinf(ours), np.isinf(theirs.numpy()))
    assert np.array_equal(ours[np.isfinite(ours)], theirs.numpy()[np.isfinite(ours)])


def test_without_timestamps_only_what_is_no_speech_is_suppressed() -> None:
    logits = np.zeros((1, SIZE), np.float32)
    FILTERS.apply(logits, [[]], timestamps=False)
    assert set(np.flatnonzero(np.isinf(logits[0]))) == {*PROMPT.suppressed(), TOKENIZER.no_timestamps}


def test_the_likeliest_token_is_sampled_at_temperature_0_with_its_logprob() -> None:
    logits = np.array([[1.0, 3.0, 2.0], [5.0, -np.inf, 0.0]], np.float32)
    tokens, logprobs = sample(logits, 0.0, [])
    assert tokens.tolist() == [1, 0]
    assert logprobs == pytest.approx(torch.from_numpy(logits).log_softmax(1).max(1).values.numpy())


def test_at_a_higher_temperature_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = np.tile(np.log(np.array([0.5, 0.3, 0.2, 0.0]) + 1e-30).astype(np.float32), (4000, 1))
    logits[:, 3] = -np.inf
    tokens, _ = sample(logits, 1.0, [np.random.default_rng(0)] * 4000)
    assert np.bincount(tokens, minlength=4) / 4000 == pytest.approx([0.5, 0.3, 0.2, 0.0], abs=0.03)
    colder, _ = sample(logits, 0.1, [np.random.default_rng(0)] * 4000)
    assert np.bincount(colder, minlength=4)[0] / 4000 > 0.98
