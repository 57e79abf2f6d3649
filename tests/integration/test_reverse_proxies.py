"""The samples for nginx and Caddy, as they stand but for their ports, in front of the HTTP side with the fake engine."""

import asyncio
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.common.service import free_port
from tests.conftest import fake_config, fake_infer, wav
from tests.support.http_server import listening
from tests.support.service import ROOT, wait_until
from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.config.server import Server
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import Window, WindowResult

WAIT_S = 10
LONG = wav(70)  # several windows, 2.2 MB
UPSTREAM = "127.0.0.1:8000"  # in the samples
SAMPLES = {"nginx": "deploy/nginx/whisper_serve.conf", "caddy": "deploy/caddy/Caddyfile"}
MAIN = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/sample.conf;
}}
"""


def sample(proxy: str, port: int, upstreams: list[str]) -> str:
    text = (ROOT / SAMPLES[proxy]).read_text("utf-8")
    if proxy == "nginx":
        servers = " ".join(f"server {upstream};" for upstream in upstreams)
        changes = {"listen 80;": f"listen 127.0.0.1:{port};", f"server {UPSTREAM};": servers}
    else:
        changes = {":80 {": f"http://127.0.0.1:{port} {{", UPSTREAM: " ".join(upstreams)}
    for there, here in changes.items():
        assert text.count(there) == 1, there
        text = text.replace(there, here)
    return text if proxy == "nginx" else f"{{\n\tadmin off\n}}\n{text}"


def command(proxy: str, folder: Path, config: str) -> list[str]:
    (folder / "sample.conf").write_text(config)
    if proxy == "nginx":
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
        return ["nginx", "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    return ["caddy", "run", "--config", f"{folder}/sample.conf", "--adapter", "caddyfile"]


@contextmanager
def proxied(proxy: str, folder: Path, *upstreams: str) -> Iterator[str]:
    """The URL of the proxy in front of these URLs."""
    port = free_port()
    config = sample(proxy, port, [url.removeprefix("http://") for url in upstreams])
    env = {"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(folder)}
    process = subprocess.Popen(command(proxy, folder, config), env=env, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: process.poll() is not None or accepts(port), WAIT_S)
        assert process.poll() is None, process.communicate()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)


def accepts(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class HeldBack:
    """An `infer` that answers the first window of a recording at once, and the others when it may."""

    def __init__(self) -> None:
        self.open = threading.Event()

    async def __call__(self, window: Window) -> WindowResult:
        if window.start > 0:
            assert await asyncio.to_thread(self.open.wait, WAIT_S)
        return await fake_infer(window)


def api(infer: Any = fake_infer) -> Any:
    async def ready() -> bool:
        return True

    config = fake_config(server={"max_upload_mb": 5})
    return create_api(Service(config, Transcriber(config, infer), ready))


@pytest.fixture(scope="module", params=list(SAMPLES))
def proxy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not shutil.which(name, path="/usr/sbin:/usr/bin:/bin"):
        pytest.skip(
            f"no {name} on this machine: apt-get install {'nginx-light' if name == 'nginx' else name}"
        )
    return name


@pytest.fixture(scope="module")
def url(proxy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with listening(api()) as service, proxied(proxy, tmp_path_factory.mktemp(proxy), service) as url:
        yield url


def transcribed(url: str) -> httpx.Response:
    return httpx.post(f"{url}/transcribe", files={"audio_file": LONG}, timeout=WAIT_S)


@pytest.mark.parametrize("prefix", ["", "/speech"])
def test_an_upload_larger_than_nginx_s_default_of_1_mb_passes(url: str, prefix: str) -> None:
    assert len(LONG) > 2**20
    answer = transcribed(url + prefix)
    assert (answer.status_code, answer.headers["x-audio-seconds"]) == (200, "70.000")


def test_the_service_s_own_sentence_refuses_a_larger_upload_than_it_takes(url: str) -> None:
    answer = httpx.post(f"{url}/transcribe", files={"audio_file": bytes(20_000_000)}, timeout=WAIT_S)
    assert (answer.status_code, answer.json()["error"]) == (413, "the upload is larger than 5 MB, the limit")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/capabilities", "/readyz"])
def test_what_is_at_the_root_is_below_the_prefix_too(url: str, path: str) -> None:
    at_root, below = httpx.get(url + path), httpx.get(f"{url}/speech{path}")
    assert (below.status_code, below.text) == (at_root.status_code, at_root.text)
    assert below.status_code == 200


def test_a_browser_below_the_prefix_is_sent_to_its_documentation(url: str) -> None:
    answer = httpx.get(f"{url}/speech/", headers={"accept": "text/html"}, follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/speech/docs")


def test_an_event_comes_before_the_rest_of_the_recording_is_transcribed(proxy: str, tmp_path: Path) -> None:
    infer = HeldBack()
    with listening(api(infer)) as service, proxied(proxy, tmp_path, service) as url:
        files, timeout = {"audio_file": LONG}, WAIT_S / 2
        with httpx.stream("POST", f"{url}/transcribe/stream", files=files, timeout=timeout) as answer:
            lines = answer.iter_lines()
            assert next(line for line in lines if line.startswith("data: "))
            assert not infer.open.is_set()
            infer.open.set()
            assert '"success":true' in [line for line in lines if line.startswith("data: ")][-1]


def test_a_machine_that_is_gone_costs_no_request(proxy: str, tmp_path: Path) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    with listening(api()) as service, proxied(proxy, tmp_path, gone, service) as url:
        for _ in range(3):
            assert transcribed(url).status_code == 200


async def stopping(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_what_a_machine_that_stops_refuses_another_one_answers(proxy: str, tmp_path: Path) -> None:
    with (
        listening(stopping) as leaving,
        listening(api()) as service,
        proxied(proxy, tmp_path, leaving, service) as url,
    ):
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, WAIT_S)
        for _ in range(3):
            assert transcribed(url).status_code == 200


def test_the_proxies_leave_it_to_the_service_to_refuse_a_large_upload() -> None:
    assert Server().max_upload_mb < 600
    assert "client_max_body_size 600m;" in (ROOT / SAMPLES["nginx"]).read_text("utf-8")
    assert "max_size 600MB" in (ROOT / SAMPLES["caddy"]).read_text("utf-8")
