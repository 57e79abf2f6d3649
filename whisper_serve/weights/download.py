"""Fetch the weights of a model: try its sources in order, verify each file's SHA-256, return the path.

The path is an official openai-whisper checkpoint (`.pt`) or a CTranslate2
folder. A file gets its own name on disk only once its SHA-256 is the pinned
one, and it is hashed again at every start (about 0.5 s per GB), so a damaged
file is downloaded again and never loaded.

To add a model or a source: a row in catalog.py. To add a kind of source: a
class there, a module beside hub.py with `save`, and a row in SAVE.
"""

import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from whisper_serve.errors import WeightsError
from whisper_serve.weights import hub, web, wheels
from whisper_serve.weights.catalog import ALIASES, OFFICIAL, Hub, Item, Source, Web, Wheels, sources
from whisper_serve.weights.catalog import NAMES as NAMES
from whisper_serve.weights.files import Report as Report
from whisper_serve.weights.files import Target, has_sha256

SAVE: dict[type, Callable[[Any, Target], None]] = {Web: web.save, Hub: hub.save, Wheels: wheels.save}

# glibc's resolver asks a name server that does not answer for half a minute, and each source asks several times.
RESOLVER = "timeout:2 attempts:2"

log = logging.getLogger(__name__)


def fetch(size: str, model_dir: Path, report: Report | None = None) -> Path:
    """The weights of `size`, one of NAMES or a local path; downloaded into `model_dir` where need be.

    Returns the path of a `.pt` checkpoint or of a CTranslate2 folder. `report` is called with the progress.
    Processes that want the same model at once share one download. Raises WeightsError.
    """
    name = ALIASES.get(size, size)
    if name not in OFFICIAL:
        return _local(size, model_dir)
    return fetch_first(name, sources(name), model_dir, report or (lambda what, done, total: None))


def fetch_first(name: str, tried: Sequence[Source], model_dir: Path, report: Report) -> Path:
    """The first of `tried` that is on disk, or else the first that can be downloaded. Raises WeightsError."""
    for source in tried:
        if all(has_sha256(model_dir / item.name, item.sha256) for item in source.items):
            return model_dir / source.target
    os.environ.setdefault("RES_OPTIONS", RESOLVER)
    scratch = model_dir / f".{name}.download"
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(model_dir / f".{name}.lock"):
            shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
            try:
                return _first_available(
                    name, tried, partial(_complete, model_dir, scratch, report), model_dir
                )
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as e:
        raise WeightsError(
            f"cannot keep the weights of {name!r} in {model_dir}: {e}; "
            "make room there, or set model.model_dir to a folder that can be written"
        ) from e


def _first_available(
    name: str, tried: Sequence[Source], complete: Callable[[Item], None], model_dir: Path
) -> Path:
    reasons = _delete_damaged(tried, model_dir)  # what stays on disk is right
    for source in tried:
        if all((model_dir / item.name).exists() for item in source.items):
            return model_dir / source.target  # another process was first
    for source in tried:
        try:
            for item in source.items:
                complete(item)
            return model_dir / source.target
        except WeightsError as e:
            log.warning("weights of %s: this source is not available: %s", name, e)
            reasons.append(str(e))
    raise WeightsError(
        "\n  ".join([f"no source of the weights of {name!r} is available:", *reasons])
        + f"\nPut {tried[0].target} into {model_dir.absolute()}, "
        "or set model.size to the path of a .pt checkpoint or of a CTranslate2 folder."
    )


def _delete_damaged(tried: Sequence[Source], model_dir: Path) -> list[str]:
    reasons = []
    for name, sha256 in {item.name: item.sha256 for source in tried for item in source.items}.items():
        path = model_dir / name
        if path.exists() and not has_sha256(path, sha256):
            path.unlink()
            reasons.append(f"{path}: its SHA-256 was not {sha256}; deleted")
            log.warning("weights: %s", reasons[-1])
    return reasons


def _complete(model_dir: Path, scratch: Path, report: Report, item: Item) -> None:
    """Download the file where it is not on disk, and give it its name once it is verified."""
    path = model_dir / item.name
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        SAVE[type(item.origin)](item.origin, Target(part, item.sha256, scratch, report))
    except WeightsError as e:
        raise WeightsError(f"{item.origin}: {e}") from e
    if not has_sha256(part, item.sha256):
        part.unlink()
        raise WeightsError(f"{item.origin}: its SHA-256 is not {item.sha256}; deleted")
    os.replace(part, path)


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
