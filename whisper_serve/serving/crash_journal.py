"""Which audio was being heard when a process died: a file for each window in a pass, and what it leaves behind.

A file that outlives its process counts as a death under that window. The folder is this machine's; what is
heard in the end leaves nothing there.
"""

import fcntl
import json
import math
import time
import wave
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import count
from pathlib import Path
from uuid import uuid4

import numpy as np

from whisper_serve.types import SAMPLE_RATE, Window

FORGOTTEN_S = 3600.0  # then a deadly window may be tried again: the fault may be mended


def name_of(window: Window) -> str:
    """Of its sound and what was asked of it, whoever sent it and whenever."""
    hashed = blake2b(window.samples.tobytes(), digest_size=16)
    hashed.update(repr(window.options).encode())
    return hashed.hexdigest()


class CrashJournal:
    """One process's; those of a machine share a folder. A process lives as long as it holds its lock."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._process = uuid4().hex
        self._lock = (folder / f"{self._process}.lock").open("w")
        weakref.finalize(self, self._lock.close)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._numbers = count()
        self._tidy()

    def deaths(self, name: str) -> int:
        """How many processes ended while they heard it."""
        return len(self._left_of(name))

    @contextmanager
    def marked(self, names: Sequence[str]) -> Iterator[None]:
        """A time in which these are to blame, should the process end."""
        files = [self._folder / f"{name}.{self._process}.{next(self._numbers)}" for name in names]
        for file in files:
            file.touch()
        try:
            yield
        finally:
            for file in files:
                file.unlink(missing_ok=True)

    @contextmanager
    def during(self, names: Sequence[str]) -> Iterator[None]:
        """The pass in which these are heard. Who comes out of it is cleared of earlier deaths."""
        with self.marked(names):
            yield
        for name in names:
            for file in self._left_of(name):
                file.unlink(missing_ok=True)

    def _left_of(self, name: str) -> list[Path]:
        """The files of processes that ended lately."""
        files = self._folder.glob(f"{name}.*")
        return [f for f in files if not self._lives(f.name.split(".")[1]) and age_s(f) < FORGOTTEN_S]

    def _lives(self, process: str) -> bool:
        try:
            with (self._folder / f"{process}.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _tidy(self) -> None:
        """Forget what is long ago."""
        for lock in self._folder.glob("*.lock"):
            if not self._lives(lock.stem):
                files = [lock, *self._folder.glob(f"*.{lock.stem}.*")]
                if all(age_s(file) > FORGOTTEN_S for file in files):
                    for file in files:
                        file.unlink(missing_ok=True)


def age_s(file: Path) -> float:
    """Infinite where another process has just removed it."""
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def quarantine(window: Window, name: str, request_id: str, folder: Path) -> Path:
    """Keep a window that ended replicas: its sound as name.wav, whose it was in name.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes((np.clip(window.samples, -1, 1) * 32767).astype("<i2").tobytes())
    told = {
        "path": str(path),
        "hash": name,
        "request_id": request_id,
        "start_s": window.start,
        "seconds": window.seconds,
    }
    path.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return path
