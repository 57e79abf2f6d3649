"""OpenVINO's graphs on a Whisper too small to know a word: what they compute, and what is done where they cannot."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ctranslate2.specs import WhisperSpec
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import gelu
from whisper.model import ModelDimensions, Whisper
from whisper.timing import dtw

from whisper_serve import engines
from whisper_serve.engines import EngineSettings, load_engine
from whisper_serve.engines.whisper.convert import as_ctranslate2
from whisper_serve.errors import ConfigError, WeightsError

pytest.importorskip("openvino")

from whisper_serve.engines.openvino.alignment import cheapest_path
from whisper_serve.engines.openvino.generate import Cache, Prompt, generate
from whisper_serve.engines.openvino.logit_filters import Rules
from whisper_serve.engines.openvino.runtime import Memory, Network
from whisper_serve.engines.whisper.prompt import Vocabulary

DIMS = ModelDimensions(80, 1500, 16, 2, 2, 51865, 448, 16, 2, 2)
VOCABULARY = Vocabulary(multilingual=True, languages=99)
TOKENIZER = VOCABULARY.tokenizer("en", "transcribe")
RULES = Rules(TOKENIZER, VOCABULARY.suppressed())


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    torch.manual_seed(1)
    model = Whisper(DIMS).eval()
    for (
        parameter
    ) in model.parameters():  # all different, or CTranslate2 would keep the likes of ones but once
        parameter.data = torch.randn_like(parameter).mul(0.1).half().float()
    return model


@pytest.fixture(scope="module")
def folder(whisper: Whisper, tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = tmp_path_factory.mktemp("weights") / "small.pt"
    torch.save({"dims": asdict(DIMS), "model_state_dict": whisper.state_dict()}, checkpoint)
    return as_ctranslate2(checkpoint, checkpoint.with_suffix(".ctranslate2"))


@pytest.fixture(scope="module")
def network(folder: Path) -> Network:
    return Network(folder, 2, "float32")


@torch.inference_mode()
def encode(whisper: Whisper, mel: Tensor) -> Tensor:
    """What openai-whisper's encoder makes of a mel of any length."""
    own = whisper.encoder
    x = gelu(own.conv2(gelu(own.conv1(mel)))).permute(0, 2, 1)
    x = x + own.positional_embedding[: x.shape[1]]
    for block in own.blocks:
        x = block(x)
    out: Tensor = own.ln_post(x)
    return out


def mel_of(frames: int) -> Tensor:
    return torch.randn(1, DIMS.n_mels, frames, generator=torch.Generator().manual_seed(frames))


def heard(network: Network, frames: int) -> Memory:
    return network.encode(mel_of(frames).numpy())


def prompts(network: Network) -> list[Prompt]:
    """Of different lengths in all there is."""
    begin = TOKENIZER.sot_sequence
    return [
        Prompt(heard(network, 200), begin, 0, 12),
        Prompt(heard(network, 800), (TOKENIZER.sot_prev, 11, 12, 13, *begin), 4, 40),
        Prompt(heard(network, 64), begin, 0, 5),
        Prompt(heard(network, 3000), (TOKENIZER.sot_prev, 14, *begin), 2, 40),
    ]


@torch.inference_mode()
@pytest.mark.parametrize("frames", [2, 800, 3000])
def test_the_memory_is_openai_whispers_keys_and_values_for_any_length(
    network: Network, whisper: Whisper, frames: int
) -> None:
    features = encode(whisper, mel_of(frames))
    memory = heard(network, frames)
    for layer, block in enumerate(whisper.decoder.blocks):
        keys, values = (
            part(features)[0].view(frames // 2, DIMS.n_text_head, -1).numpy()
            for part in (block.cross_attn.key, block.cross_attn.value)
        )
        assert memory[2 * layer] == pytest.approx(keys.transpose(1, 2, 0), abs=0.05)  # int8
        assert memory[2 * layer + 1] == pytest.approx(values.transpose(1, 2, 0), abs=0.05)


@torch.inference_mode()
def test_logits_are_those_of_openai_whisper_in_one_step_and_in_many(
    network: Network, whisper: Whisper
) -> None:
    tokens = [*TOKENIZER.sot_sequence, 50364, 400, 500, 600, 700]
    features = encode(whisper, mel_of(400))
    theirs = whisper.decoder(torch.tensor([tokens]), features)[0].numpy()
    with network.decoder() as decoder:
        at_once = Cache(network, decoder, [heard(network, 400)])
        every = np.arange(len(tokens))[None]
        assert alike(at_once.show([tokens], every).logits[0], theirs)
        one_by_one = Cache(network, decoder, [heard(network, 400)])
        one_by_one.show([tokens[:3]], np.array([[2]]))
        for i, token in enumerate(tokens[3:], 3):
            assert alike(one_by_one.say([token], [i]), theirs[i : i + 1])


def alike(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool:
    """But for what int8 costs."""
    return bool(np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max())


@pytest.mark.parametrize("timed", [True, False])
def test_what_a_row_says_does_not_depend_on_its_neighbours(network: Network, timed: bool) -> None:
    asked = prompts(network)
    together = generate(network, RULES, asked, timed)
    for prompt, answer in zip(asked, together, strict=True):
        (alone,) = generate(network, RULES, [prompt], timed)
        assert alone.tokens == answer.tokens
        assert alone.sum_logprob == pytest.approx(answer.sum_logprob, abs=0.01)
        assert alone.no_speech_prob == pytest.approx(answer.no_speech_prob, abs=1e-6)
        assert 0 < len(answer.tokens) <= prompt.most
        assert len(answer.logprobs) == len(answer.tokens)


def test_what_is_drawn_is_drawn_again_for_the_same_sound(network: Network) -> None:
    asked = prompts(network)[0]
    first, again, other = (
        generate(network, RULES, [replace(asked, seed=seed)], temperature=1.0)[0].tokens for seed in (1, 1, 2)
    )
    assert first == again != other


def test_an_answer_may_be_longer_than_what_is_kept_at_first(network: Network) -> None:
    (answer,) = generate(network, RULES, [Prompt(heard(network, 64), TOKENIZER.sot_sequence, 0, 200)], False)
    assert len(answer.tokens) == 200  # a model that knows no words does not know when to stop


def test_passes_at_once_do_not_overwrite_each_other(folder: Path) -> None:
    network = Network(folder, 2)
    asked = prompts(network)
    with ThreadPoolExecutor(4) as callers:
        memories = list(callers.map(lambda frames: heard(network, frames), range(200, 232, 2)))
        answers = list(callers.map(lambda prompt: generate(network, RULES, [prompt]), asked * 4))
    for frames, memory in zip(range(200, 232, 2), memories, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(memory, heard(network, frames), strict=True))
    for prompt, answer in zip(asked * 4, answers, strict=True):
        assert answer == generate(network, RULES, [prompt])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (40, 700), (90, 60)])
def test_the_cheapest_path_is_that_of_openai_whisper(shape: tuple[int, int]) -> None:
    costs = np.random.default_rng(shape[1]).normal(size=shape)
    theirs = [(int(i), int(j)) for i, j in dtw(torch.from_numpy(costs)).T if i >= 0 and j >= 0]
    assert cheapest_path(costs) == theirs


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"device": "cuda"}, "CPUs only"), ({"compute_type": "int8"}, "cannot compute in 'int8'")],
)
def test_what_openvino_is_not_for_is_refused(folder: Path, settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_engine("openvino", EngineSettings(folder, **settings))


def test_a_folder_without_a_whisper_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.bin"):
        load_engine("openvino", EngineSettings(tmp_path))


def test_where_ctranslate2_is_faster_it_is_taken_and_one_line_says_why(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = import_module("whisper_serve.engines.openvino.runtime")
    monkeypatch.setattr(network, "best_type", lambda _core: "float32")
    log = logging.getLogger(engines.__name__)
    log.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, log.name):
            assert type(load_engine("auto", EngineSettings(folder))).__name__ == "CTranslate2Engine"
    finally:
        log.removeHandler(caplog.handler)
    assert "does not multiply bfloat16" in caplog.text


def test_openvino_is_taken_where_it_is_faster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = import_module("whisper_serve.engines.openvino.runtime")
    monkeypatch.setattr(network, "best_type", lambda _core: "bfloat16")
    monkeypatch.setattr(network, "PRECISIONS", {"bfloat16": "f32", "float32": "f32"})
    assert type(load_engine("auto", EngineSettings(folder))).__name__ == "OpenVINOEngine"


def test_weights_that_only_ctranslate2_reads_are_heard_by_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimize = WhisperSpec.optimize
    monkeypatch.setattr(WhisperSpec, "optimize", lambda spec, _type: optimize(spec, "int8"))
    quantized = as_ctranslate2(folder.with_suffix(".pt"), tmp_path / "int8")
    monkeypatch.setattr(
        import_module("whisper_serve.engines.openvino.runtime"), "best_type", lambda _core: "bfloat16"
    )
    with pytest.raises(WeightsError, match="quantized"):
        load_engine("openvino", EngineSettings(quantized))
    assert type(load_engine("auto", EngineSettings(quantized))).__name__ == "CTranslate2Engine"
