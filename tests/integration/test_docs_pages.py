"""/docs and /redoc: open without a key, whole behind a prefix, and drawn by a browser that fetches nothing elsewhere."""

import json
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.conftest import fake_config, fake_infer
from tests.support.browser import BROWSER, QUIET
from tests.support.http_server import below, listening
from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.api.docs import ASSETS
from whisper_serve.transcription.transcriber import Transcriber

KEYS = {"keys": [{"name": "ada", "sha256": sha256(b"secret").hexdigest()}]}
PREFIX = "/speech"


def api() -> FastAPI:
    async def ready() -> bool:
        return True

    config = fake_config(security=KEYS)
    return create_api(Service(config, Transcriber(config, fake_infer), ready))


@pytest.fixture(scope="module", params=["", PREFIX, f"{PREFIX} as root_path"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a service with keys, at the root of its host or below a prefix."""
    prefix = request.param.split(" ")[0]
    app = below(prefix, api(), strips=prefix == request.param) if prefix else api()
    with listening(app) as url:
        yield url + prefix


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/redoc", "/openapi.json", *ASSETS])
def test_pages_and_assets_need_no_key(address: str, path: str) -> None:
    answer = httpx.get(address + path)
    assert answer.status_code == 200
    assert len(answer.content) > 500


def test_what_the_pages_ask_for_needs_a_key(address: str) -> None:
    assert httpx.get(f"{address}/capabilities").status_code == 401
    assert httpx.get(f"{address}/health").status_code == 200


def test_the_schema_has_a_scheme_for_keys_and_no_host(address: str) -> None:
    schema = httpx.get(f"{address}/openapi.json").json()
    assert schema["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert [server["url"] for server in schema["servers"]] == ["."]


@pytest.mark.skipif(BROWSER is None, reason="no browser: apt-get install chromium")
@pytest.mark.parametrize(
    ("address", "page", "drawn"),
    [
        ("", "/docs", ["/v1/audio/transcriptions", "Authorize"]),
        (PREFIX, "/docs/", ["/v1/audio/transcriptions", "Authorize"]),
        (f"{PREFIX} as root_path", "/redoc", ["Transcribe a recording"]),
    ],
    indirect=["address"],
)
def test_a_browser_draws_the_page_and_asks_no_other_host(
    address: str, page: str, drawn: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "net.json"
    command = [
        str(BROWSER),
        *QUIET,
        f"--user-data-dir={tmp_path}",
        f"--log-net-log={log}",
        "--dump-dom",
        address + page,
    ]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    for words in drawn:
        assert words in text
    requested = asked_by_page(log, address)
    assert len(requested) >= 2
    assert [url for url in requested if not url.startswith(f"{address}/")] == []


def asked_by_page(log: Path, address: str) -> list[str]:
    """Addresses that the page requested; what the browser asks for on its own account has no such initiator."""
    origin = httpx.URL(address).copy_with(path="/")
    parameters: list[dict[str, Any]] = [event.get("params", {}) for event in events(log.read_text("utf-8"))]
    return [p["url"] for p in parameters if p.get("initiator") == str(origin).rstrip("/")]


def events(text: str) -> list[dict[str, Any]]:
    """Of Chromium's net log, whose end is missing where the browser stopped before it was written."""
    try:
        log = json.loads(text)
    except ValueError:
        log = json.loads(text.rstrip().rstrip(",") + "]}")
    found: list[dict[str, Any]] = log["events"]
    return found
