"""The examples in docs/, run as they stand against a service."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.common import speech
from tests.support.service import ROOT, Running

URL = "http://localhost:8000"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def examples() -> list[tuple[str, str]]:
    """Language and text of every block that calls the service."""
    pages = sorted((ROOT / "docs").glob("*.md"))
    found = [block for page in pages for block in BLOCK.findall(page.read_text("utf-8"))]
    return [(language, text) for language, text in found if URL in text]


@pytest.mark.parametrize(("language", "text"), examples(), ids=lambda value: value.splitlines()[0][:60])
def test_an_example_runs_as_it_stands(service: Running, language: str, text: str, tmp_path: Path) -> None:
    for program in ("curl", "wget"):
        if language == "bash" and program in text and not shutil.which(program):
            pytest.skip(f"no {program} on this machine")
    shutil.copy(speech.jfk(), tmp_path / "speech.flac")
    (tmp_path / ".curlrc").write_text("fail-with-body\n")  # an answer of 400 or above fails the example
    commands = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    done = subprocess.run(
        [*commands[language], text.replace(URL, service.url)],
        cwd=tmp_path,
        env=os.environ | {"CURL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
