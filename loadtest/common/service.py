"""Services to measure: one that runs at an allowed address, or one of our own, started and stopped here."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from loadtest.common import ROOT
from loadtest.common.errors import CannotRun
from loadtest.common.provenance import ENV
from whisper_serve.host.ports import is_loopback

Sections = Mapping[str, Mapping[str, Any]]  # of a config file

START_S = 900.0  # the first start may download a model
STOP_S = 90.0  # it answers what it has first


def allowed(url: str, environ: Mapping[str, str]) -> str:
    """The URL, if it is this machine's or ALLOW_REMOTE is 1; raises CannotRun."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CannotRun(f"{url!r} is no http:// address")
    if not is_loopback(parts.hostname) and environ.get("ALLOW_REMOTE") != "1":
        raise CannotRun(f"{parts.hostname} is not this machine; set ALLOW_REMOTE=1 to put load on it")
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Service:
    url: str
    process: psutil.Process  # main.py


@contextmanager
def own_service(
    config: Path, log: Path, overrides: Sections | None = None, root: Path = ROOT
) -> Iterator[Service]:
    """Run main.py of a checkout on a free port, ready when the block begins, until it is left.

    `overrides`: settings in place of those in the config file. Raises CannotRun where it ends before, or is not ready in time.
    """
    port = free_port()
    here = {f"{ENV}SERVER__HOST": "127.0.0.1", f"{ENV}SERVER__PORT": str(port)}
    with tempfile.TemporaryDirectory() as folder, log.open("wb") as out:
        file = config.resolve()
        if overrides:
            fields = json.loads(file.read_text(encoding="utf-8"))
            file = Path(folder, "config.json")
            file.write_text(json.dumps(changed(fields, overrides)), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "main.py", "--config", str(file)],
            cwd=root,
            env={**os.environ, **here},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process, log)
            yield Service(url, psutil.Process(process.pid))
        finally:
            _stop(process)


def changed(fields: Sections, overrides: Sections) -> dict[str, Any]:
    """A config file's fields with some of its settings replaced."""
    return {**fields, **{section: {**fields.get(section, {}), **new} for section, new in overrides.items()}}


def served_model(url: str) -> str | None:
    """The model that a service reports; None where it does not."""
    try:
        models: list[str] = httpx.get(f"{url}/capabilities", trust_env=False, timeout=10).json()["models"]
        return models[0]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
            raise CannotRun(f"the service ended with {process.returncode} before it was ready:\n{tail}")
        if _ready(url):
            return
        time.sleep(0.5)
    raise CannotRun(f"the service was not ready after {START_S:g} s; its log is {log}")


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
