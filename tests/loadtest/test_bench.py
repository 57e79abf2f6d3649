"""The bench's processes: the service with the fake engine behind its client, and a peer that does not start."""

from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from loadtest.bench.running import running
from loadtest.bench.samples import Start, Take, Work
from loadtest.clips import Clip
from loadtest.errors import CannotRun

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config.json"


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """Noise of two seconds, which passes for speech."""
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    return Clip(str(tmp_path / "noise.wav"), "2 0 seconds", 2.0)


def test_the_service_is_asked_by_all_callers_and_what_it_took_is_measured(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MODEL__ENGINE": "fake", "VAD__METHOD": "off", "LOGGING__FILE": "null"}.items():
        monkeypatch.setenv(f"WHISPER_SERVE__{name}", value)
    start = Start("service", {"deployment": {"num_replicas": 1}, "server": {"dashboard": False}})
    told: list[Take] = []
    with running(start, CONFIG, ROOT, tmp_path / "service.log") as peer:
        measured = peer.hear(Work((clip,) * 12, 4), told.append)
    assert tuple(told) == measured.takes
    assert [take.heard.startswith("2.0 seconds at 0.0") for take in told] == [True] * 12
    assert 0 < max(take.latency_s for take in told) <= measured.wall_s
    assert measured.cpu_s > 0.01
    assert measured.peak_mb > 100  # Ray and all
    assert measured.client_cpu is not None
    assert not [p for p in psutil.Process().children() if "main.py" in p.cmdline()]


def test_a_peer_that_cannot_be_had_says_why(tmp_path: Path, clip: Clip) -> None:
    start = Start("faster-whisper", weights=str(tmp_path / "nowhere"))
    with (
        pytest.raises(CannotRun, match=r"^faster-whisper: .+"),
        running(start, CONFIG, ROOT, tmp_path / "peer.log") as peer,
    ):
        peer.hear(Work((clip,), 1), lambda take: None)
