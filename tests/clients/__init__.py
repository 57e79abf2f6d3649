"""OpenAI's own clients run against a service: openai-python, old and new, and openai-node.

Each client's script makes the same calls and prints one JSON object, so one
test holds for all. To add a client: a script, and a row in CLIENTS.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".clients_cache"
INSTALL_S, RUN_S = 120, 120

Command = tuple[list[str], dict[str, str]]  # and what it adds to the environment


def installed_python() -> Command:
    """The newest, which requirements-dev.txt pins."""
    return [sys.executable, str(HERE / "openai_python.py")], {}


def old_python(version: str) -> Command:
    folder = CACHE / f"openai-python-{version}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    install(folder / "openai", [*pip, str(folder), "distro", f"openai=={version}"])
    return installed_python()[0], {"PYTHONPATH": str(folder)}


def node(version: str) -> Command:
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"no {program} on this machine")
    folder = CACHE / f"openai-node-{version}"
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    install(folder / "node_modules" / "openai", [*npm, f"openai@{version}"])
    return ["node", str(HERE / "openai_node.mjs"), str(folder)], {}


CLIENTS: dict[str, Callable[[], Command]] = {
    "openai-python 3.51.0": installed_python,
    "openai-python 1.109.1": lambda: old_python("1.109.1"),
    "openai-node 7.55.0": lambda: node("7.55.0"),
}


def install(found: Path, command: list[str], timeout_s: float = INSTALL_S) -> None:
    """Once; a registry that does not answer skips the test."""
    if found.exists():
        return
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode:
        pytest.skip(f"{command[-1]} could not be installed: {done.stderr.strip()[-200:]}")


def results(client: str, url: str, recording: Path) -> dict[str, Any]:
    """What the client got, by call; an error as {"error": {status, message, type, param, code}}."""
    command, env = CLIENTS[client]()
    done = subprocess.run(
        [*command, f"{url}/v1", str(recording)],
        capture_output=True,
        text=True,
        timeout=RUN_S,
        env=os.environ | env,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
