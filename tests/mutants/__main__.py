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
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.mutants.sample import sample

ROOT = Path(__file__).parents[2]
PACKAGE = "whisper_serve"
MODULES = {  # by their tests, relative to tests/
    "transcription/admission": "unit/transcription/test_admission.py",
    "transcription/transcriber": "unit/transcription/test_transcriber.py",
    "transcription/temperature_fallback": "unit/transcription/test_temperature_fallback.py",
    "text/filters": "unit/text/test_filters.py",
    "audio/vad": "unit/audio/test_vad.py",
    "audio/decode": "unit/audio/test_decode.py",
    "serving/batcher": "unit/serving/test_batcher.py",
    "serving/batch_runner": "unit/serving/test_batch_runner.py",
    "serving/router": "integration/test_router.py",  # imports Ray, does not start it
    "engines/openvino/logit_filters": "unit/engines/openvino/test_logit_filters.py",
    "engines/whisper/batch_decoder": "unit/engines/whisper/test_batch_decoder.py",
}
WANTED = 0.85
TIMEOUT_S = 30
MEMORY = 8 << 30  # bytes: a loop that never ends may fill a list
QUIETLY = [
    "-x",
    "-q",
    "--tb=no",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:schemathesis",
    "-p",
    "no:hypothesispytest",
    "-p",
    "no:locust",
]
NOT_COPIED = shutil.ignore_patterns(".*", "models", "speech")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help=f"of {PACKAGE}; all where none is given", metavar="MODULE")
    parser.add_argument("--size", type=int, default=20, help="mutations tried of a module")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    given = parser.parse_args()
    os.nice(10)
    with TemporaryDirectory() as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        preload([copy / "tests" / MODULES[name] for name in given.modules or MODULES])
        shares = [tried(copy, name, given.size, given.seed) for name in given.modules or MODULES]
    sys.exit(min(shares) < WANTED)


def preload(tests: Sequence[Path]) -> None:
    """Import all that tests and plugins import, then forget what is of this project."""
    with redirect_stdout(StringIO()):
        pytest.main([*QUIETLY, "--collect-only", *map(str, tests)])
    for name in [*sys.modules]:
        if name.partition(".")[0] in (PACKAGE, "loadtest") or name.startswith("tests."):
            del sys.modules[name]


def tried(copy: Path, name: str, size: int, seed: int) -> float:
    """Print the mutations of a module that its tests do not notice, then its row; the share of those they notice."""
    path, tests = Path(PACKAGE, f"{name}.py"), copy / "tests" / MODULES[name]
    if noticed(copy, tests):
        sys.exit(f"{tests.relative_to(copy)} fails without any mutation")
    chosen = sample(ROOT / path, size, seed)
    original = (copy / path).read_bytes()
    missed = 0
    for mutation in chosen:
        (copy / path).write_text(mutation.source, "utf-8")
        if not noticed(copy, tests):
            missed += 1
            print(f"{path}:{mutation.line}: {mutation.before}\n    -> {mutation.after}", flush=True)
    (copy / path).write_bytes(original)
    share = 1 - missed / len(chosen)
    print(f"{share:5.0%}  {len(chosen) - missed:3} of {len(chosen):3}  {path}", flush=True)
    return share


def noticed(copy: Path, tests: Path) -> bool:
    """Whether the tests fail, or do not end."""
    process = get_context("fork").Process(target=run, args=(copy, tests), daemon=True)
    process.start()
    process.join(TIMEOUT_S)
    if process.exitcode is None and process.pid:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return process.exitcode != 0


def run(copy: Path, tests: Path) -> None:
    """In a process of its own: ends it, with 0 where all tests pass. Threads that still wait are not waited for."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    os.chdir(copy)
    sys.path[0] = str(copy)
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os._exit(pytest.main([*QUIETLY, str(tests)]))


if __name__ == "__main__":
    main()
