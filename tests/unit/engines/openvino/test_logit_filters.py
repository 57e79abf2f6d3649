"""What may be said next, ruled in numpy as openai-whisper rules it in torch."""

import numpy as np
import pytest
import torch
from whisper.decoding import ApplyTimestampRules, SuppressTokens

from whisper_serve.engines.openvino.logit_filters import Rules, chosen
from whisper_serve.engines.whisper.prompt import LATEST_FIRST_TIMESTAMP, Vocabulary

VOCABULARY = Vocabulary(multilingual=True, languages=99)
TOKENIZER = VOCABULARY.tokenizer("en", "transcribe")
ZERO, EOT, SIZE = TOKENIZER.timestamp_begin, TOKENIZER.eot, TOKENIZER.timestamp_begin + 1501
RULES = Rules(TOKENIZER, VOCABULARY.suppressed())
SAID = {
    "nothing": [],
    "when it began": [ZERO + 2],
    "a word": [ZERO, 400],
    "a sentence": [ZERO, 400, 500, ZERO + 90],
    "a sentence, and when the next began": [ZERO, 400, ZERO + 90, ZERO + 90],
    "a word of the next": [ZERO, 400, ZERO + 90, ZERO + 90, 700],
    "words without a time": [400, 500],
}


@pytest.mark.parametrize("lift", [0.0, 6.0], ids=["words are likelier", "times are likelier"])
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_the_rules_are_those_of_openai_whisper(said: list[int], lift: float) -> None:
    logits = np.random.default_rng(len(said)).normal(size=(2, SIZE)).astype(np.float32)
    logits[:, ZERO:] += lift
    theirs, ours = torch.from_numpy(logits.copy()), logits.copy()
    tokens = torch.tensor([[TOKENIZER.sot, *said]] * 2)
    SuppressTokens(VOCABULARY.suppressed()).apply(theirs, tokens)
    ApplyTimestampRules(TOKENIZER, 1, LATEST_FIRST_TIMESTAMP).apply(theirs, tokens)
    RULES.forbid(ours, [said] * 2, timed=True)
    assert np.array_equal(np.isinf(ours), np.isinf(theirs.numpy()))
    assert np.array_equal(ours[np.isfinite(ours)], theirs.numpy()[np.isfinite(ours)])


def test_without_times_only_what_is_no_speech_is_forbidden() -> None:
    logits = np.zeros((1, SIZE), np.float32)
    RULES.forbid(logits, [[]], timed=False)
    assert set(np.flatnonzero(np.isinf(logits[0]))) == {*VOCABULARY.suppressed(), TOKENIZER.no_timestamps}


def test_the_likeliest_token_is_chosen_with_its_logprob() -> None:
    logits = np.array([[1.0, 3.0, 2.0], [5.0, -np.inf, 0.0]], np.float32)
    tokens, logprobs = chosen(logits, 0.0, [])
    assert tokens.tolist() == [1, 0]
    assert logprobs == pytest.approx(torch.from_numpy(logits).log_softmax(1).max(1).values.numpy())


def test_warm_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = np.tile(np.log(np.array([0.5, 0.3, 0.2, 0.0]) + 1e-30).astype(np.float32), (4000, 1))
    logits[:, 3] = -np.inf
    tokens, _ = chosen(logits, 1.0, [np.random.default_rng(0)] * 4000)
    assert np.bincount(tokens, minlength=4) / 4000 == pytest.approx([0.5, 0.3, 0.2, 0.0], abs=0.03)
    colder, _ = chosen(logits, 0.1, [np.random.default_rng(0)] * 4000)
    assert np.bincount(colder, minlength=4)[0] / 4000 > 0.98
