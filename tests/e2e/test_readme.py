"""Every block of code in the README, run. A new block needs a row in CHECKS."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable

import pytest

from loadtest.common import speech
from loadtest.common.wer import wer
from tests.support.service import ROOT, Running
from whisper_serve.config.load import load_config

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


def make_target_exists(service: Running, block: str) -> None:
    subprocess.run(["make", "--dry-run", block.split()[1]], cwd=ROOT, check=True, capture_output=True)


def the_service_runs_by_it(service: Running, block: str) -> None:
    assert service.process.args == shlex.split(block)


def curl_gives_the_answer_shown(service: Running, block: str) -> None:
    command = block.replace("speech.flac", str(speech.jfk())).replace("http://localhost:8000", service.url)
    answer = json.loads(subprocess.run(shlex.split(command), check=True, capture_output=True).stdout)
    shown = json.loads(next(code for kind, code in BLOCKS if kind == "json"))
    assert wer([shown["text"]], [answer["text"]]) == 0  # a comma may differ from CPU to CPU
    assert answer | {"latency": shown["latency"], "text": shown["text"]} == shown


def settings_load(service: Running, block: str) -> None:
    for line in block.splitlines():
        setting, *command = shlex.split(line, comments=True)
        name, _, value = setting.partition("=")
        assert command == ["make", "run"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, value)
            load_config(ROOT / "config.json")


def cluster_commands_name_what_exists(service: Running, block: str) -> None:
    """What they do is tested on clusters of this machine's own, in tests/integration/test_cluster.py."""
    up, execute = map(shlex.split, block.splitlines())
    assert up[:2] == ["ray", "up"]
    assert (ROOT / up[2]).is_file()
    command = execute[-1].split()
    assert (ROOT / command[command.index("--config") + 1]).is_file()
    assert command[-1] == "--detach"


def the_package_installs_and_main_py_reads_the_config(service: Running, block: str) -> None:
    """Without changing this environment, and without a second service."""
    install, start = map(shlex.split, block.splitlines())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", *install[2:]]
    subprocess.run(pip, cwd=ROOT, check=True, capture_output=True)
    assert install[:2] == ["pip", "install"]
    assert start[:2] == ["python", "main.py"]
    load_config(ROOT / start[start.index("--config") + 1])


CHECKS: dict[str, Callable[[Running, str], None]] = {
    "make run": the_service_runs_by_it,
    "make test": make_target_exists,
    "curl ": curl_gives_the_answer_shown,
    "WHISPER_SERVE__": settings_load,
    "pip install": the_package_installs_and_main_py_reads_the_config,
    "ray up": cluster_commands_name_what_exists,
}


@pytest.mark.parametrize(
    "block", [code for kind, code in BLOCKS if kind == "bash"], ids=lambda b: b.split("\n")[0]
)
def test_a_block_of_the_readme_does_what_it_says(service: Running, block: str) -> None:
    check = next(check for start, check in CHECKS.items() if block.startswith(start))
    check(service, block)


def test_only_known_kinds_of_block_are_in_the_readme() -> None:
    assert {kind for kind, _ in BLOCKS} <= {"bash", "json", "text"}
