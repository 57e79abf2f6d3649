"""Which windows a process was working on when it died: one file for each, which outlives the process.

The folder is one machine's, shared by its replicas. The file of a dead process makes a suspect of its window, which is
processed alone from then on; one that then kills another replica, alone, is refused. A window that is transcribed in
the end has its files removed.
"""

import fcntl
import json
import math
import threading
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

from whisper_serve.host.private_folder import private_folder
from whisper_serve.types import SAMPLE_RATE, Window

QUARANTINE_DEATHS = 2  # of replicas that count against a window, after which it is refused
REMEMBERED_S = 3600.0  # then a refused window may be tried again: the cause may be mended


def journal_folder() -> Path:
    """Where the replicas of this machine keep it, by user. Raises StartError where others could reach it."""
    return private_folder() / "crash_journal"


def name_of(window: Window) -> str:
    """A hash of its samples and options: the same audio has the same name in every request."""
    hashed = blake2b(window.samples.tobytes(), digest_size=16)
    hashed.update(repr(window.options).encode())
    return hashed.hexdigest()


class CrashJournal:
    """One process's view of the folder. The process counts as alive as long as it holds the lock on its own file."""

    def __init__(self, folder: Path, process: str) -> None:
        """process: a name no other process ever has, without dots."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._process = process
        self._lock = (folder / f"{process}.lock").open("w")
        weakref.finalize(self, self._lock.close)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._numbers = count()
        self._turns = Turns()
        self._remove_old()

    def deaths(self, name: str) -> int:
        """Deaths on this machine that count against this window."""
        deaths = 0
        for file in sorted(self._left(name), key=age_s, reverse=True):
            deaths = deaths_after(deaths, name, left_by(self._folder, process_of(file)))
        return deaths

    @contextmanager
    def processing(self, names: Sequence[str], alone: bool = False) -> Iterator[None]:
        """While these windows are worked on. alone: nothing else in this process is meanwhile (blocks until then)."""
        with self._turns.taken(alone):
            files = [self._folder / f"{name}.{self._process}.{next(self._numbers)}" for name in names]
            for file in files:
                file.touch()
            try:
                yield
            finally:
                for file in files:
                    file.unlink(missing_ok=True)

    @contextmanager
    def batch(self, names: Sequence[str], alone: bool = False) -> Iterator[None]:
        """The same, for the whole of an inference batch: if it ends, earlier deaths no longer count on this machine."""
        with self.processing(names, alone):
            yield
        for name in names:
            for file in self._left(name):
                file.unlink(missing_ok=True)

    def _left(self, name: str) -> list[Path]:
        """Files of processes that died, as far back as is remembered."""
        files = self._folder.glob(f"{name}.*")
        return [f for f in files if age_s(f) < REMEMBERED_S and not lives(self._folder, process_of(f))]

    def _remove_old(self) -> None:
        for file in self._folder.iterdir():
            if age_s(file) > REMEMBERED_S and not lives(self._folder, process_of(file)):
                file.unlink(missing_ok=True)


class Turns:
    """Lets threads work side by side, or one of them alone; who wants to be alone is let in before those who come later."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._alone = False

    @contextmanager
    def taken(self, alone: bool) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = alone
            self._changed.wait_for(lambda: not (alone and self._working))
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._alone = self._alone and not alone
                self._changed.notify_all()


def deaths_after(deaths: int, name: str, processed: Sequence[str]) -> int:
    """Deaths that count against a window, after one more.

    processed: names of what the process was working on. Among others a window is only suspected, however often that
    happens; a death while it was alone is its own.
    """
    if name not in processed:
        return deaths
    return deaths + 1 if len(processed) == 1 else max(deaths, 1)


def left_by(folder: Path, process: str) -> tuple[str, ...]:
    """Names of the windows that a process was working on when it died; none if it lives."""
    if lives(folder, process):
        return ()
    return tuple(file.name.partition(".")[0] for file in folder.glob(f"*.{process}.*"))


def mark_poison(folder: Path, name: str) -> None:
    """Have this window refused on this machine, for as long as deaths are remembered."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(QUARANTINE_DEATHS):
        (folder / f"{name}.{uuid4().hex}.0").touch()


def lives(folder: Path, process: str) -> bool:
    try:
        with (folder / f"{process}.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def process_of(file: Path) -> str:
    """Of `process.lock` or `window.process.number`."""
    return file.name.split(".")[-2]


def age_s(file: Path) -> float:
    """Infinite where another process has just removed it."""
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def quarantine(window: Window, name: str, request_id: str, folder: Path) -> Path:
    """Keep a refused window for its operator: its audio as name.wav, which request it came from as name.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.wav"
    with wave.open(str(path), "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(SAMPLE_RATE)
        audio.writeframes((np.clip(window.samples, -1, 1) * 32767).astype("<i2").tobytes())
    letter = {
        "path": str(path),
        "hash": name,
        "request_id": request_id,
        "start_s": window.start,
        "seconds": window.seconds,
    }
    path.with_suffix(".json").write_text(json.dumps(letter, indent=2) + "\n", encoding="utf-8")
    return path
