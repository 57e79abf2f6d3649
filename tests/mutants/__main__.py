"""Mutation testing: how many of the small faults that are put into a module do its unit tests notice?

`make mutants`. cosmic-ray makes the faults; a sample of each module's is tried, one after another, in a copy of the
checkout. Each is tried in a fork of this process, which has imported all libraries that the tests need: a fork takes
as long as the tests, where a new process would import for seconds.
"""

import argparse
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.mutants.sample import sample

ROOT = Path(__file__).parents[2]
PACKAGE = "whisper_serve"
MODULES = (  # those that decide
    "transcription/admission",
    "transcription/transcriber",
    "transcription/temperature_fallback",
    "text/filters",
    "audio/vad",
    "audio/decode",
    "serving/batcher",
    "serving/batch_runner",
    "serving/router",
    "engines/openvino/logit_filters",
    "engines/whisper/batch_decoder",
)
MORE_TESTS = {  # of several modules; or not among the unit tests: FFmpeg; librosa; Ray, which is not started
    "transcription/transcriber": "unit/transcription/test_channels.py",
    "audio/decode": "integration/test_decode.py",
    "audio/vad": "integration/test_energy.py",
    "serving/router": "integration/test_router.py",
}
WANTED = 0.85
TIMEOUT_S = 60  # of the tests without a mutation; else SLOWER times what these took, and HANGS_S
SLOWER, HANGS_S = 5, 5
MEMORY = 8 << 30  # bytes: a loop that never ends may fill a list
WITHOUT = ("cacheprovider", "schemathesis", "hypothesispytest", "locust")
QUIETLY = ["-x", "-q", "--tb=no", *(f"-pno:{plugin}" for plugin in WITHOUT)]
NOT_COPIED = shutil.ignore_patterns(".*", "models", "speech")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help=f"of {PACKAGE}; all where none is given", metavar="MODULE")
    parser.add_argument("--size", type=int, default=20, help="mutations tried of a module")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    given = parser.parse_args()
    modules = given.modules or MODULES
    os.nice(10)
    with TemporaryDirectory() as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        preload([path for name in modules for path in tests_of(copy, name)])
        noticed = {name: tried(copy, name, given.size, given.seed) for name in modules}
    print(f"\n{'module':34} noticed")
    for name, (count, of) in noticed.items():
        print(f"{name:34} {count:2} of {of}  {count / of:4.0%}")
    sys.exit(any(count < WANTED * of for count, of in noticed.values()))


def tests_of(copy: Path, name: str) -> list[Path]:
    """The module's unit tests, and what else is known to test it alone."""
    package, _, module = name.rpartition("/")
    mirrored = f"unit/{package}/test_{module}.py"
    paths = [copy / "tests" / path for path in (mirrored, MORE_TESTS.get(name, mirrored))]
    return [path for path in dict.fromkeys(paths) if path.exists()]


def preload(tests: Sequence[Path]) -> None:
    """Import all that tests and plugins import, then forget what is of this project."""
    with redirect_stdout(StringIO()):
        pytest.main([*QUIETLY, "--collect-only", *map(str, tests)])
    for name in [*sys.modules]:
        if name.partition(".")[0] in (PACKAGE, "loadtest") or name.startswith("tests."):
            del sys.modules[name]


def tried(copy: Path, name: str, size: int, seed: int) -> tuple[int, int]:
    """How many of a sample of mutations the module's tests notice, and of how many; prints the others."""
    path, tests = Path(PACKAGE, f"{name}.py"), tests_of(copy, name)
    began = time.monotonic()
    if is_noticed(copy, tests, TIMEOUT_S):
        sys.exit(f"the tests of {path} fail without any mutation")
    timeout_s = SLOWER * (time.monotonic() - began) + HANGS_S
    chosen, missed = sample(copy / path, size, seed), 0
    original = (copy / path).read_bytes()
    for mutation in chosen:
        (copy / path).write_text(mutation.source, "utf-8")
        if not is_noticed(copy, tests, timeout_s):
            missed += 1
            print(f"{path}:{mutation.line}: {mutation.before}\n    -> {mutation.after}", flush=True)
    (copy / path).write_bytes(original)
    return len(chosen) - missed, len(chosen)


def is_noticed(copy: Path, tests: Sequence[Path], timeout_s: float) -> bool:
    """Whether the tests fail, or do not end."""
    process = get_context("fork").Process(target=run, args=(copy, tests, timeout_s), daemon=True)
    process.start()
    process.join()
    assert process.pid
    with suppress(ProcessLookupError):  # what the tests started and a mutation kept from ending
        os.killpg(process.pid, signal.SIGKILL)
    return process.exitcode != 0


def run(copy: Path, tests: Sequence[Path], timeout_s: float) -> None:
    """In a process of its own: ends it, with 0 where all tests pass. Threads that still wait are not waited for."""
    os.setsid()
    signal.alarm(ceil(timeout_s))  # ends it, also where its parent is gone
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    os.chdir(copy)
    sys.path[0] = str(copy)
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os._exit(pytest.main([*QUIETLY, *map(str, tests)]))


if __name__ == "__main__":
    main()
