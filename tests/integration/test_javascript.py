"""The examples in JavaScript of docs/api.md, run as they stand by Node and by a browser, against the fake engine."""

import json
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import fake_config, fake_infer, wav
from tests.support.browser import BROWSER, QUIET
from tests.support.http_server import listening
from tests.support.service import ROOT
from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.transcription.transcriber import Transcriber

URL = "http://localhost:8000"
BLOCK = re.compile(r"^```(javascript|html)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS: list[tuple[str, str]] = BLOCK.findall((ROOT / "docs/api.md").read_text("utf-8"))
SCRIPTS, PAGES = ([text for kind, text in BLOCKS if kind == wanted] for wanted in ("javascript", "html"))
NODE = shutil.which("node")
LONG = wav(45)  # more than a window
WORDS = ["26.9 seconds at 0.0", "18.1 seconds at 26.9"]  # what the fake engine makes of them
# What a person does who chooses a file; the page begins to listen when it has been read.
CHOOSE = """
<script type="module">
  const file = new File([Uint8Array.from(atob(%s), (c) => c.charCodeAt(0))], "speech.wav");
  const chosen = new DataTransfer();
  chosen.items.add(file);
  document.querySelector("input").files = chosen.files;
  document.querySelector("input").dispatchEvent(new Event("change"));
</script>
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    async def ready() -> bool:
        return True

    config = fake_config(security={"cors_origins": ["null"]})  # of a page that is a file
    with listening(create_api(Service(config, Transcriber(config, fake_infer), ready))) as url:
        yield url


def test_there_are_examples_for_node_and_for_a_browser() -> None:
    assert (len(SCRIPTS), len(PAGES)) == (2, 1)


@pytest.mark.skipif(NODE is None, reason="no node on this machine")
@pytest.mark.parametrize("script", SCRIPTS, ids=["answer", "stream"])
def test_node_runs_an_example(url: str, script: str, tmp_path: Path) -> None:
    (tmp_path / "speech.flac").write_bytes(LONG)
    done = run_node(script.replace(URL, url), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(words in done.stdout for words in WORDS), done.stdout


@pytest.mark.skipif(NODE is None, reason="no node on this machine")
@pytest.mark.parametrize("script", SCRIPTS, ids=["answer", "stream"])
def test_an_example_in_node_says_why_a_request_is_refused(url: str, script: str, tmp_path: Path) -> None:
    (tmp_path / "speech.flac").write_bytes(b"no recording")
    done = run_node(script.replace(URL, url), tmp_path)
    assert done.returncode == 1
    assert "this is no audio or video that can be read" in done.stderr


def run_node(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(NODE), "--input-type=module", "--eval", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(BROWSER is None, reason="no browser: apt-get install chromium")
@pytest.mark.parametrize(
    ("recording", "shown"),
    [(LONG, WORDS), (b"no recording", ["this is no audio or video that can be read"])],
    ids=["recording", "refused"],
)
def test_a_browser_shows_the_words_of_the_file_that_is_chosen(
    url: str, recording: bytes, shown: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text(PAGES[0].replace(URL, url) + CHOOSE % json.dumps(b64encode(recording).decode()))
    command = [str(BROWSER), *QUIET, f"--user-data-dir={tmp_path}", "--dump-dom", page.as_uri()]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search("<p>(.*)</p>", text)
    assert found
    assert all(words in found[1] for words in shown), found[1]
