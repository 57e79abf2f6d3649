import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from whisper_serve.audio import silero
from whisper_serve.audio.silero import FRAME, Run, Scores, Silero, model_file, on_onnxruntime, on_openvino
from whisper_serve.errors import StartError
from whisper_serve.types import Samples

LOADERS = {"openvino": on_openvino, "onnxruntime": on_onnxruntime}


def noise(frames: int) -> Samples:
    return np.random.default_rng(0).normal(0, 0.1, frames * FRAME).astype(np.float32)


def scored(on: Callable[[Path], Callable[[], Run]], samples: Samples, frames_at_once: int) -> Scores:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(silero, "load_silero", lambda: on(model_file()))
        scorer, step = Silero(), frames_at_once * FRAME
        return np.concatenate([scorer(samples[at : at + step]) for at in range(0, len(samples), step)])


@pytest.mark.parametrize("runtime", LOADERS)
def test_scores_are_the_same_however_the_recording_is_divided(runtime: str) -> None:
    pytest.importorskip(runtime)
    on, samples = LOADERS[runtime], noise(64)
    np.testing.assert_allclose(scored(on, samples, 64), scored(on, samples, 1), atol=1e-5)


def test_both_runtimes_score_the_same() -> None:
    pytest.importorskip("openvino")
    ours, theirs = (scored(on, noise(40), 16) for on in LOADERS.values())
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(StartError, match="install it"):
        model_file()
