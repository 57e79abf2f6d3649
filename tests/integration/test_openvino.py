"""OpenVINO's encoder on a Whisper too small to know a word: what it computes, and what happens where it cannot."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu
from whisper.model import ModelDimensions, Whisper

from whisper_serve.engines import EngineSettings
from whisper_serve.engines.convert import as_ctranslate2
from whisper_serve.engines.ctranslate2 import openvino_encoder
from whisper_serve.errors import ConfigError

DIMS = ModelDimensions(80, 1500, 16, 2, 2, 51865, 448, 16, 2, 1)


@pytest.fixture(scope="module")
def openvino() -> Any:
    pytest.importorskip("openvino")
    return import_module("whisper_serve.engines.openvino")


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


def mel_of(n: int, frames: int) -> Tensor:
    return torch.randn(n, DIMS.n_mels, frames, generator=torch.Generator().manual_seed(n * frames))


def asked(encoder: str, **settings: Any) -> EngineSettings:
    return EngineSettings(None, **{"encoder": encoder, **settings})


@pytest.mark.parametrize(("n", "frames"), [(1, 2), (3, 800), (1, 3000)])
def test_features_are_those_of_openai_whisper_for_any_length_and_batch(
    openvino: Any, whisper: Whisper, folder: Path, n: int, frames: int
) -> None:
    encoder = openvino.OpenVINOEncoder(openvino.ov.Core(), folder, 1, "f32")
    mel = mel_of(n, frames)
    features = encoder(mel.numpy())
    assert features.shape == (n, frames // 2, DIMS.n_audio_state)
    assert np.abs(features - encode(whisper, mel).numpy()).max() < 1e-3


def test_passes_at_once_do_not_overwrite_each_other(openvino: Any, folder: Path) -> None:
    encoder = openvino.load_encoder(folder, 2, only_if_faster=False)
    mels = [mel_of(1, frames).numpy() for frames in range(200, 232, 2)]
    with ThreadPoolExecutor(4) as callers:
        together = list(callers.map(encoder, mels))
    for mel, features in zip(mels, together, strict=True):
        assert np.array_equal(features, encoder(mel))


@pytest.mark.parametrize(
    ("settings", "why"), [({"device": "cuda"}, "CPUs only"), ({"compute_type": "float32"}, "in float32")]
)
def test_what_openvino_is_not_for_is_encoded_by_ctranslate2_and_one_line_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, str], why: str
) -> None:
    log = logging.getLogger("whisper_serve.engines.ctranslate2")
    log.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, log.name):
            assert openvino_encoder(tmp_path, asked("auto", **settings), 1) is None
    finally:
        log.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records if why in record.getMessage()}
    assert openvino_encoder(tmp_path, asked("ctranslate2"), 1) is None


def test_openvino_asked_for_in_vain_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'openvino' cannot be used: it runs on CPUs only"):
        openvino_encoder(tmp_path, asked("openvino", device="cuda"), 1)
    with pytest.raises(ConfigError, match="cannot be used"):
        openvino_encoder(tmp_path, asked("openvino"), 1)  # no model.bin; or no OpenVINO here
