"""Where, when and with what a report was made: the machine, the commit, the configuration."""

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ENV = "WHISPER_SERVE__"  # as config.py reads it: WHISPER_SERVE__SECTION__FIELD
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
    """What every report says of itself."""

    taken: str  # when it was begun; ISO 8601, UTC
    commit: str
    command: str
    machine: Machine
    config: dict[str, Any]  # the service's config file, as it is
    environment: dict[str, str]  # what overrides it

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Origin":
        """Read asdict(origin)."""
        return cls(**{**fields, "machine": Machine(**fields["machine"])})

    @property
    def model(self) -> str:
        """As configured."""
        named: str = self.config.get("model", {}).get("size", "unknown")
        return self.environment.get(f"{ENV}MODEL__SIZE", named)

    @property
    def facts(self) -> dict[str, str]:
        """For those who read it."""
        return {
            "Machine": str(self.machine),
            "Commit": self.commit,
            "Taken": self.taken,
            "Overrides": ", ".join(f"{k}={v}" for k, v in self.environment.items()) or "none",
            "Command": self.command,
        }


def origin(command: str, config: Path, environ: Mapping[str, str], folder: Path) -> Origin:
    """This machine, this moment, and what is checked out in a folder."""
    taken = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Origin(taken, commit(folder), command, machine(), *configured(config, environ))


def machine() -> Machine:
    """This machine; the service is taken to run on it too."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = _said("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return Machine(_cpu(), cores, round(memory / 2**30), "; ".join(gpus.splitlines()))


def commit(folder: Path) -> str:
    """The short hash of what is checked out there, with + if files differ from it; or unknown."""
    found = _said("git", "-C", str(folder), "rev-parse", "--short", "HEAD")
    changed = _said("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
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


def _said(*command: str) -> str:
    """What a program prints; nothing if it is not there or fails."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
