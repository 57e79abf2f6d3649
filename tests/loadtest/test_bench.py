"""The bench's processes: the service with the fake engine behind its client, and peers on the weights they need."""

from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from tokenizers import Tokenizer
from whisper.tokenizer import get_tokenizer

from loadtest.bench.__main__ import weights_of
from loadtest.bench.child import Start
from loadtest.bench.figures import Measured
from loadtest.bench.revisions import Round, rows
from loadtest.bench.running import running
from loadtest.bench.tokenizer import with_tokenizer
from loadtest.common import ROOT, speech
from loadtest.common.client import Result
from loadtest.common.clips import Clip
from loadtest.common.errors import CannotRun
from loadtest.common.wer import wer
from whisper_serve.config.load import Config

CONFIG = ROOT / "config.json"


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """Noise of two seconds, which passes for speech."""
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    return Clip(tmp_path / "noise.wav", "2 0 seconds", 2.0)


def test_the_service_is_asked_by_all_callers_and_what_it_took_is_measured(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MODEL__ENGINE": "fake", "VAD__METHOD": "off", "LOGGING__FILE": "null"}.items():
        monkeypatch.setenv(f"WHISPER_SERVE__{name}", value)
    start = Start("service", {"deployment": {"num_replicas": 1}, "server": {"dashboard": False}})
    with running(start, CONFIG, tmp_path / "service.log") as service:
        measured = service.measure((clip,) * 12, 4)
    assert [r.text.startswith("2.0 seconds at 0.0") for r in measured.results] == [True] * 12
    assert 0 < max(r.latency_s for r in measured.results) <= measured.wall_s
    assert measured.cpu_s["model"] > 0.001
    assert sum(measured.cpu_s.values()) > measured.cpu_s["model"]
    assert measured.peak_mb > 100  # Ray and all
    assert measured.client_cpu is not None
    assert not [p for p in psutil.Process().children() if "main.py" in p.cmdline()]


def test_a_peer_that_cannot_be_had_gives_the_reason(tmp_path: Path) -> None:
    start = Start("faster-whisper", weights=str(tmp_path / "nowhere"))
    with (
        pytest.raises(CannotRun, match=r"^faster-whisper: .+"),
        running(start, CONFIG, tmp_path / "peer.log"),
    ):
        pass


def test_a_converted_checkpoint_has_the_tokenizer_that_openai_whisper_has() -> None:
    folder = with_tokenizer(weights_of(Config(model={"size": "tiny.en"})))
    ours, theirs = Tokenizer.from_file(str(folder / "tokenizer.json")), get_tokenizer(multilingual=False)
    for text in (*(clip.text for clip in speech.clips()), " -", " '", "♪♪♪", "don't  we'll\n12345", "наш ßü"):
        assert ours.encode(text).ids == theirs.encode(text)
        assert ours.decode(theirs.encode(text)) == text
    assert ours.token_to_id("<|notimestamps|>") == theirs.no_timestamps


@pytest.mark.parametrize("kind", ["faster-whisper", "openai-whisper", "whisper.cpp"])
def test_every_peer_runs_on_weights_that_come_as_a_checkpoint(kind: str, tmp_path: Path) -> None:
    weights = weights_of(Config(model={"size": "tiny.en"}))  # its only form is a .pt
    clips = speech.clips()[:2]
    with running(Start(kind, weights=str(weights)), CONFIG, tmp_path / "peer.log") as peer:
        measured = peer.measure(clips, 1)
    assert wer([r.clip.text for r in measured.results], [r.text for r in measured.results]) < 0.2
    assert measured.client_cpu is None


def test_two_checkouts_are_compared_round_by_round_and_differing_clips_are_counted_once() -> None:
    clips = [Clip(Path(f"/clips/{n}.flac"), f"words of clip {n}", 1.0) for n in range(10)]

    def measured(cpu_s: float, text: str) -> Measured:
        results = tuple(Result(clip, 0.1, text if clip is clips[0] else clip.text) for clip in clips)
        return Measured(results, 2.0, {"model": cpu_s, "ingress": 1.0}, 100.0, 0.1)

    rounds = [Round(measured(1.0, "a"), measured(2.0, "b")), Round(measured(2.0, "a"), measured(2.0, "c"))]
    found = {name: cells for name, *cells in rows(rounds)}
    assert found["in the replicas"] == ["100 200", "200 200", "0.7500 ± 0.2500"]
    assert found["in the rest"][-1] == "1.0000 ± 0.0000"
    assert found["clips whose words differ"] == ["1", "1", "1"]
    assert rows(rounds[:1])[2][-1] == "0.5000 ± -"
