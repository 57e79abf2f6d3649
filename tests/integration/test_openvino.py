"""OpenVINO's graphs on a tiny Whisper of random weights: what they compute, and what is done where they cannot."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
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

from whisper_serve.engines.openvino.alignment import dtw as our_dtw
from whisper_serve.engines.openvino.generate import Cache, Row, generate
from whisper_serve.engines.openvino.logit_filters import LogitFilters
from whisper_serve.engines.openvino.runtime import CrossKV, Network
from whisper_serve.engines.whisper.prompt import PromptTokens

DIMS = ModelDimensions(80, 1500, 16, 2, 2, 51865, 448, 16, 2, 2)
PROMPT = PromptTokens(multilingual=True, languages=99)
TOKENIZER = PROMPT.tokenizer("en", "transcribe")
FILTERS = LogitFilters(TOKENIZER, PROMPT.suppressed())


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


def cross_kv(network: Network, frames: int) -> CrossKV:
    return network.encode(mel_of(frames).numpy())


def encoded(network: Network) -> list[CrossKV]:
    """To be shared by rows that are compared: the int8 layers may round the same mel in two ways."""
    return [cross_kv(network, frames) for frames in (200, 800, 64, 3000)]


def new_rows(kvs: Sequence[CrossKV]) -> list[Row]:
    """Of different lengths in all that has a length."""
    begin = TOKENIZER.sot_sequence
    prompts: list[tuple[int, ...]] = [
        begin,
        (TOKENIZER.sot_prev, 11, 12, 13, *begin),
        begin,
        (TOKENIZER.sot_prev, 14, *begin),
    ]
    return [
        Row(kv, prompt, len(prompt) - len(begin), most)
        for kv, prompt, most in zip(kvs, prompts, (12, 40, 5, 40), strict=True)
    ]


@torch.inference_mode()
@pytest.mark.parametrize("frames", [2, 800, 3000])
def test_cross_attention_has_openai_whispers_keys_and_values_for_any_length(
    network: Network, whisper: Whisper, frames: int
) -> None:
    features = encode(whisper, mel_of(frames))
    kv = cross_kv(network, frames)
    for layer, block in enumerate(whisper.decoder.blocks):
        keys, values = (
            part(features)[0].view(frames // 2, DIMS.n_text_head, -1).numpy()
            for part in (block.cross_attn.key, block.cross_attn.value)
        )
        assert kv[2 * layer] == pytest.approx(keys.transpose(1, 2, 0), abs=0.05)  # int8
        assert kv[2 * layer + 1] == pytest.approx(values.transpose(1, 2, 0), abs=0.05)


@torch.inference_mode()
def test_logits_are_those_of_openai_whisper_in_one_step_and_in_many(
    network: Network, whisper: Whisper
) -> None:
    tokens = [*TOKENIZER.sot_sequence, 50364, 400, 500, 600, 700]
    features = encode(whisper, mel_of(400))
    theirs = whisper.decoder(torch.tensor([tokens]), features)[0].numpy()
    with network.decoder() as decoder:
        at_once = Cache(network, decoder, [cross_kv(network, 400)])
        every = np.arange(len(tokens))[None]
        assert alike(at_once.prefill([tokens], every).logits[0], theirs)
        one_by_one = Cache(network, decoder, [cross_kv(network, 400)])
        one_by_one.prefill([tokens[:3]], np.array([[2]]))
        for i, token in enumerate(tokens[3:], 3):
            assert alike(one_by_one.decode_step([token], [i]), theirs[i : i + 1])


def alike(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool:
    """But for what int8 costs."""
    return bool(np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max())


@pytest.mark.parametrize("timestamps", [True, False])
def test_the_tokens_of_a_row_do_not_depend_on_its_neighbours(network: Network, timestamps: bool) -> None:
    kvs = encoded(network)
    together = generate(network, FILTERS, new_rows(kvs), timestamps)
    for row, decoded in zip(new_rows(kvs), together, strict=True):
        (alone,) = generate(network, FILTERS, [row], timestamps)
        assert alone.tokens == decoded.tokens
        assert alone.sum_logprob == pytest.approx(decoded.sum_logprob, abs=0.01)
        assert alone.no_speech_prob == pytest.approx(decoded.no_speech_prob, abs=1e-6)
        assert 0 < len(decoded.tokens) <= row.max_tokens
        assert len(decoded.logprobs) == len(decoded.tokens)


def test_what_is_drawn_is_drawn_again_for_the_same_sound(network: Network) -> None:
    kv = cross_kv(network, 200)
    first, again, other = (
        generate(network, FILTERS, [Row(kv, TOKENIZER.sot_sequence, 0, 12, seed)], temperature=1.0)[0].tokens
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_more_tokens_may_be_generated_than_the_cache_holds_at_first(network: Network) -> None:
    rows = [Row(cross_kv(network, 64), TOKENIZER.sot_sequence, 0, 200)]
    (decoded,) = generate(network, FILTERS, rows, False)
    assert len(decoded.tokens) == 200  # a model of random weights does not know when to stop


def test_calls_at_once_do_not_overwrite_each_other(folder: Path) -> None:
    network = Network(folder, 2)
    shared = encoded(network)
    expected = [generate(network, FILTERS, [row])[0] for row in new_rows(shared)]
    with ThreadPoolExecutor(4) as callers:
        kvs = list(callers.map(lambda frames: cross_kv(network, frames), range(200, 232, 2)))
        rows = [row for _ in range(4) for row in new_rows(shared)]
        decoded = list(callers.map(lambda row: generate(network, FILTERS, [row])[0], rows))
    for frames, kv in zip(range(200, 232, 2), kvs, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(kv, cross_kv(network, frames), strict=True))
    assert decoded == expected * 4


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (40, 700), (90, 60)])
def test_dtw_finds_the_path_of_openai_whisper(shape: tuple[int, int]) -> None:
    costs = np.random.default_rng(shape[1]).normal(size=shape)
    theirs = [(int(i), int(j)) for i, j in dtw(torch.from_numpy(costs)).T if i >= 0 and j >= 0]
    assert our_dtw(costs) == theirs


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
    runtime = import_module("whisper_serve.engines.openvino.runtime")
    monkeypatch.setattr(runtime, "best_type", lambda _core: "float32")
    log = logging.getLogger(engines.__name__)
    log.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, log.name):
            assert load_engine("auto", EngineSettings(folder)).name == "ctranslate2"
    finally:
        log.removeHandler(caplog.handler)
    assert "has no bfloat16 instructions" in caplog.text


def test_openvino_is_taken_where_it_is_faster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = import_module("whisper_serve.engines.openvino.runtime")
    monkeypatch.setattr(runtime, "best_type", lambda _core: "bfloat16")
    monkeypatch.setattr(runtime, "PRECISIONS", {"bfloat16": "f32", "float32": "f32"})
    assert load_engine("auto", EngineSettings(folder)).name == "openvino"


def test_weights_that_only_ctranslate2_reads_are_run_by_it(
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
    assert load_engine("auto", EngineSettings(quantized)).name == "ctranslate2"
