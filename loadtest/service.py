"""An address in, leave to put load on it out; or a service of our own, started and stopped here."""

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import urlsplit

import httpx

from loadtest.errors import CannotRun
from loadtest.origin import ENV

START_S = 900.0  # the first start may download a model
STOP_S = 90.0  # it answers what it has first


def allowed(url: str, environ: Mapping[str, str]) -> str:
    """The URL, if it is this machine's or ALLOW_REMOTE is 1; raises CannotRun."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CannotRun(f"{url!r} is no http:// address")
    if not _loopback(parts.hostname) and environ.get("ALLOW_REMOTE") != "1":
        raise CannotRun(f"{parts.hostname} is not this machine; set ALLOW_REMOTE=1 to put load on it")
    return url.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def own_service(config: Path, root: Path, log: Path) -> Iterator[str]:
    """Run main.py on a free port until the block is left; yields its URL when a model is ready.

    Raises CannotRun if it ends before, or is not ready in time.
    """
    port = _free_port()
    here = {f"{ENV}SERVER__HOST": "127.0.0.1", f"{ENV}SERVER__PORT": str(port)}
    command = [sys.executable, "main.py", "--config", str(config.resolve())]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, **here},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, log)
        yield url
    finally:
        _stop(process)


def told_model(url: str) -> str | None:
    """The model a service says it has; None where it does not say."""
    try:
        models: list[str] = httpx.get(f"{url}/capabilities", trust_env=False, timeout=10).json()["models"]
        return models[0]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None


def leave_on_sigterm() -> None:
    """End as on an error, so that what was started is stopped."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


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


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
