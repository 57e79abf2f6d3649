"""SDKs of other companies, and curl and wget, against the fake engine: `make test-clients`."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.sdks import SDKS, Sdk
from tests.conftest import wav
from tests.support.service import FAKE, Running, started

TEXT = "2.0 seconds at 0.0, batch of 1."


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with started(FAKE) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "two seconds.wav"
    path.write_bytes(wav(2))
    return path


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: f"{sdk.name} {sdk.version}")
def test_an_sdk_hands_out_the_text(service: Running, recording: Path, sdk: Sdk) -> None:
    texts = sdk.texts(service.url, recording)
    if "refused" in texts:
        assert "no audio or video" in texts.pop("refused")
    assert texts
    assert set(texts.values()) == {TEXT}


@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("curl", ["-sS", "--data-binary", "@{}"]),
        ("curl", ["-sS", "-T", "{}", "-X", "POST"]),
        ("wget", ["-qO-", "--post-file={}"]),
    ],
    ids=["curl --data-binary", "curl -T", "wget --post-file"],
)
def test_a_recording_is_sent_as_it_is(
    service: Running, recording: Path, program: str, options: list[str]
) -> None:
    if not shutil.which(program):
        pytest.skip(f"no {program} on this machine")
    filled = [option.format(recording) for option in options]
    url = f"{service.url}/transcribe?word_timestamps=true"
    done = subprocess.run([program, *filled, url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == TEXT
