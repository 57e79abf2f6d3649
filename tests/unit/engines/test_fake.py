import numpy as np
import pytest

from tests.support.misbehaving_engine import MisbehavingEngine
from tests.support.service import FAKE_ENGINE
from whisper_serve.engines import ENGINES, FAKE_VARIABLE, EngineSettings, load_engine, transcribe
from whisper_serve.types import SAMPLE_RATE, Options, Window, WindowResult


@pytest.mark.parametrize("prompt", ["", "die", "crash", "explode", "eat 10", "slow 60", "say something"])
def test_no_prompt_changes_what_the_fake_engine_does(prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FAKE_VARIABLE, raising=False)
    window = Window(np.zeros(2 * SAMPLE_RATE, np.float32), 4.0, Options(prompt=prompt))
    (result,) = transcribe(load_engine("fake", EngineSettings(None)), [window])
    assert isinstance(result, WindowResult)
    assert [s.text for s in result.segments] == [" 2.0 seconds at 4.0, batch of 1."]


def test_the_variable_of_the_tests_replaces_the_fake_engine_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(FAKE_VARIABLE, FAKE_ENGINE)
    assert isinstance(load_engine("fake", EngineSettings(None)), MisbehavingEngine)
    monkeypatch.setitem(ENGINES, "other", "whisper_serve.engines.fake:FakeEngine")
    assert not isinstance(load_engine("other", EngineSettings(None)), MisbehavingEngine)
