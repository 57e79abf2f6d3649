import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import OFFICIAL, Item, Source, Web, sources
from whisper_serve.weights.download import Report, fetch, fetch_first

DATA = bytes(range(256)) * 8192  # 2 MiB
SHA256 = hashlib.sha256(DATA).hexdigest()


@dataclass
class Site:
    """A web server with one file, and the requests it received."""

    data: bytes = DATA
    resumable: bool = True
    cut_after: int | None = None  # bytes, after which the connection breaks
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)  # of each request, its Range header


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            range_header = self.headers.get("Range")
            site.ranges.append(range_header)
            start = (
                int(range_header.removeprefix("bytes=").rstrip("-")) if range_header and site.resumable else 0
            )
            if start >= len(site.data):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(site.data) - 1}/{len(site.data)}")
            self.send_header("Content-Length", str(len(site.data) - start))
            self.end_headers()
            self.wfile.write(site.data[start : site.cut_after])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/model.pt"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as running:
        yield running


def source(origin: Web, sha256: str = SHA256) -> Source:
    return Source("model.pt", (Item("model.pt", sha256, origin),))


def ignore(what: str, done: int, total: int) -> None:
    pass


def get(model_dir: Path, *tried: Source, report: Report = ignore) -> Path:
    return fetch_first("model", tried, model_dir, report)


def test_a_download_is_verified_and_its_progress_reported(site: Site, tmp_path: Path) -> None:
    reported: list[tuple[str, int, int]] = []
    path = get(tmp_path / "new" / "folder", source(Web(site.url)), report=lambda *args: reported.append(args))
    assert path == tmp_path / "new" / "folder" / "model.pt"
    assert path.read_bytes() == DATA
    assert reported[-1] == (site.url, len(DATA), len(DATA))


def test_a_verified_file_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    get(tmp_path, source(Web(site.url)))
    get(tmp_path, source(Web(site.url)))
    assert len(site.ranges) == 1


def test_a_verified_file_is_used_where_the_folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(DATA)
    tmp_path.chmod(0o500)
    assert get(tmp_path, source(Web("http://127.0.0.1:9/"))).read_bytes() == DATA
    tmp_path.chmod(0o700)


def test_a_file_with_a_flipped_bit_on_disk_is_downloaded_again(site: Site, tmp_path: Path) -> None:
    damaged = bytearray(DATA)
    damaged[12345] ^= 1
    (tmp_path / "model.pt").write_bytes(damaged)
    assert get(tmp_path, source(Web(site.url))).read_bytes() == DATA


def test_a_damaged_file_that_cannot_be_downloaded_again_is_deleted_and_named(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"model\.pt: its SHA-256 was not \w+; deleted"):
        get(tmp_path, source(Web("http://127.0.0.1:9/")))
    assert not (tmp_path / "model.pt").exists()


def test_a_download_with_another_hash_is_deleted_and_named(site: Site, tmp_path: Path) -> None:
    site.data = b"another model"
    with pytest.raises(WeightsError, match=rf"{site.url}: its SHA-256 is not {SHA256}; deleted"):
        get(tmp_path, source(Web(site.url)))
    assert not list(tmp_path.glob("model.pt*"))


def test_a_download_that_breaks_off_is_resumed_by_the_next_fetch(site: Site, tmp_path: Path) -> None:
    site.cut_after = 1 << 20
    with pytest.raises(WeightsError, match="peer closed connection"):
        get(tmp_path, source(Web(site.url)))
    assert not (tmp_path / "model.pt").exists()
    site.cut_after = None
    assert get(tmp_path, source(Web(site.url))).read_bytes() == DATA
    assert site.ranges == [None, f"bytes={1 << 20}-"]


def test_a_server_that_ignores_the_range_sends_the_whole_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "model.pt.part").write_bytes(DATA[:1000])
    site.resumable = False
    assert get(tmp_path, source(Web(site.url))).read_bytes() == DATA


def test_a_download_killed_after_its_last_byte_is_only_verified(site: Site, tmp_path: Path) -> None:
    (tmp_path / "model.pt.part").write_bytes(DATA)
    assert get(tmp_path, source(Web(site.url))).read_bytes() == DATA


def test_the_next_source_is_tried_where_one_is_not_reachable(site: Site, tmp_path: Path) -> None:
    dead = source(Web("http://127.0.0.1:9/model.pt"))
    assert get(tmp_path, dead, source(Web(site.url))).read_bytes() == DATA


def test_the_error_names_every_source_and_why_it_was_not_available(site: Site, tmp_path: Path) -> None:
    site.data = b""  # answered with 416
    with pytest.raises(WeightsError) as caught:
        get(tmp_path, source(Web("http://127.0.0.1:9/model.pt")), source(Web(site.url)))
    first, refused, wrong, advice = str(caught.value).splitlines()
    assert first == "no source of the weights of 'model' is available:"
    assert re.fullmatch(r"  http://127.0.0.1:9/model.pt: .*Connection refused", refused)
    assert wrong == f"  {site.url}: HTTP 416"
    assert advice.startswith(f"Put model.pt into {tmp_path}, or set model.size to")


def test_concurrent_fetches_share_one_download(site: Site, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: get(tmp_path, source(Web(site.url))), range(8)))
    assert paths == [tmp_path / "model.pt"] * 8
    assert len(site.ranges) == 1


def test_a_folder_that_cannot_be_created_is_reported_in_one_sentence(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        WeightsError, match=r"cannot keep the weights of 'model' in .*; make room there, or set"
    ):
        get(tmp_path / "file" / "models", source(Web(site.url)))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_reported_in_one_sentence_and_no_other_source_is_tried(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "model.pt.part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match="No space left on device; make room there"):
        get(tmp_path, source(Web(site.url)), source(Web(site.url)))
    assert len(site.ranges) == 1


def test_a_local_checkpoint_is_used_as_it_is(tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine.pt"
    with zipfile.ZipFile(checkpoint, "w") as archive:
        archive.writestr("mine/data.pkl", b"")
    assert fetch(str(checkpoint), tmp_path / "elsewhere") == checkpoint
    assert fetch("mine.pt", tmp_path) == checkpoint


def test_a_local_ctranslate2_folder_is_used_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("model.bin", "config.json", "vocabulary.json"):
        (folder / name).write_bytes(b"")
    assert fetch("mine", tmp_path) == folder


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_a_local_file_that_is_not_a_checkpoint_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(data)
    with pytest.raises(WeightsError, match=r"mine.pt is neither a \.pt checkpoint nor a CTranslate2 folder"):
        fetch("mine.pt", tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is neither"):
        fetch(str(tmp_path), tmp_path)


def test_the_error_for_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'bass' is no known model \(tiny.en, tiny, base.en, base, "):
        fetch("bass", tmp_path)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_file_comes_first_and_every_copy_is_complete(name: str) -> None:
    first, *others = sources(name)
    assert first.target == f"{name}.pt"
    assert isinstance(first.items[0].origin, Web)
    for copy in others:
        files = {item.name for item in copy.items}
        assert copy.target in files or {f"{copy.target}/model.bin", f"{copy.target}/config.json"} < files
