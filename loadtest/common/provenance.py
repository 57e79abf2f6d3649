"""Provenance of a report: the machine, the commit, the configuration, the command and the time."""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from loadtest.common import ROOT
from whisper_serve.host.hardware import count_cpus

ENV = "WHISPER_SERVE__"  # as the service reads it: WHISPER_SERVE__SECTION__FIELD
_SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Machine:
    cpu: str
    cores: int  # this process may use
    memory_gb: int  # 2**30
    gpu: str  # empty: none

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, {self.memory_gb} GiB; GPU: {self.gpu or 'none'}"


@dataclass(frozen=True, slots=True)
class Origin:
    """With what a report was made."""

    taken: str  # when it was begun; ISO 8601, UTC
    commit: str
    command: str
    machine: Machine
    config: dict[str, Any]  # the service's config file, as it is
    environment: dict[str, str]  # what overrides it

    @property
    def model(self) -> str:
        """As configured."""
        named: str = self.config.get("model", {}).get("size", "unknown")
        return self.environment.get(f"{ENV}MODEL__SIZE", named)

    @property
    def facts(self) -> dict[str, str]:
        """In words, by name."""
        return {
            "Machine": str(self.machine),
            "Commit": self.commit,
            "Taken": self.taken,
            "Overrides": ", ".join(f"{k}={v}" for k, v in self.environment.items()) or "none",
            "Command": self.command,
        }


def origin(verb: str, argv: Sequence[str], config: Path) -> Origin:
    """This machine, this moment, this checkout, and the configuration of its service."""
    taken = datetime.now(timezone.utc).isoformat(timespec="seconds")
    command = shlex.join(["python", "-m", verb, *argv])
    return Origin(taken, commit(ROOT), command, machine(), *configured(config, os.environ))


def machine() -> Machine:
    """This machine; the service is taken to run on it too."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return Machine(_cpu(), count_cpus(), round(memory / 2**30), "; ".join(gpus.splitlines()))


def commit(folder: Path) -> str:
    """The short hash of what is checked out there, with + if files differ from it; or unknown."""
    found = _output("git", "-C", str(folder), "rev-parse", "--short", "HEAD")
    changed = _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return found + ("+" if changed else "") if found else "unknown"


def configured(file: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The config file and the variables that override it, without the port and without secrets."""
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    over = {k: v for k, v in sorted(environ.items()) if k.startswith(ENV) and k != f"{ENV}SERVER__PORT"}
    return _hidden(config), _hidden(over)


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "…" if _SECRET.search(k) else _hidden(v) for k, v in value.items()}
    return value


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def _output(*command: str) -> str:
    """What a program prints; nothing if it is not there or fails."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
