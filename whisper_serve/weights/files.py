"""One file of a model on its way to disk: where it is written, how its SHA-256 is checked and its progress reported."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

Report = Callable[[str, int, int], None]  # what is being downloaded, bytes so far, bytes in all (0: unknown)

CHUNK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where one file is written, before it is verified."""

    part: Path  # what is there already is of an earlier, interrupted download
    sha256: str
    scratch: Path  # a folder for other files, deleted afterwards
    report: Report


def has_sha256(path: Path, sha256: str) -> bool:
    """Whether there is a file, and its content is the pinned one. About 0.5 s per GB."""
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == sha256


def counted(
    chunks: Iterable[bytes], done: int, total: int, report: Callable[[int, int], None]
) -> Iterator[bytes]:
    """The chunks as they are, each reported as it passes. `done` and `total` are bytes."""
    for chunk in chunks:
        done += len(chunk)
        report(done, total)
        yield chunk
