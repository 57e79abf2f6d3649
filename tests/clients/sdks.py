"""SDKs of others than OpenAI, run unchanged against a service; each in a folder of its own below .clients_cache.

To add one: its calls in other_python.py or ai_sdk.mjs, and a row in SDKS.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients import CACHE, HERE, install

INSTALL_S, RUN_S = 900, 180
# What would change which service is called, or report to somebody.
ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "AI_SDK_LOG_WARNINGS": "false",
    "OPENAI_API_KEY": "none",
}


@dataclass(frozen=True, slots=True)
class Sdk:
    name: str  # in its script
    version: str
    requirements: tuple[str, ...]  # of pip, or of npm
    node: bool = False

    def command(self) -> list[str]:
        """Installed at the first call."""
        if self.node:
            return ["node", str(HERE / "ai_sdk.mjs"), str(self._node_folder()), self.name]
        return [str(self._python()), str(HERE / "other_python.py"), self.name]

    def _python(self) -> Path:
        folder = CACHE / f"{self.name}-{self.version}"
        if not folder.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=INSTALL_S)
        pip = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        stamp = folder / "installed"
        install(stamp, [*pip, *self.requirements], INSTALL_S)
        stamp.touch()
        return folder / "bin/python"

    def _node_folder(self) -> Path:
        for program in ("node", "npm"):
            if not shutil.which(program):
                pytest.skip(f"no {program} on this machine")
        folder = CACHE / f"{self.name.replace('/', '-')}-{self.version}"
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
        install(folder / "node_modules" / self.name, [*npm, *self.requirements], INSTALL_S)
        return folder

    def texts(self, url: str, recording: Path) -> dict[str, str]:
        """The text that each of its calls got."""
        done = subprocess.run(
            [*self.command(), url, str(recording)],
            capture_output=True,
            text=True,
            timeout=RUN_S,
            env=os.environ | ENVIRONMENT,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["version"] == self.version
        texts: dict[str, str] = found["texts"]
        return texts


PYDUB = ("pydub==0.25.1", "imageio-ffmpeg==0.8.1")  # which brings its own ffmpeg
SDKS = (
    Sdk("groq", "1.7.0", ("groq==1.7.0",)),
    Sdk("mistralai", "3.7.0", ("mistralai==3.7.0",)),
    Sdk("together", "3.1.1", ("together==3.1.1",)),
    Sdk("litellm", "1.106.2", ("litellm==1.106.2",)),
    Sdk("langchain", "0.4.2", ("langchain-community==0.4.2", "openai==3.54.0", *PYDUB)),
    Sdk("llama_index", "0.5.0", ("llama-index-readers-whisper==0.5.0", "llama-index-core==0.14.25")),
    Sdk("@ai-sdk/openai", "3.0.141", ("ai@6.0.326", "@ai-sdk/openai@3.0.141"), node=True),
    Sdk("@ai-sdk/groq", "3.0.71", ("ai@6.0.326", "@ai-sdk/groq@3.0.71"), node=True),
    Sdk("groq-sdk", "1.6.0", ("groq-sdk@1.6.0",), node=True),
)
