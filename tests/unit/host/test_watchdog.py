"""Which processes a start may end: those that a run of its own user, folder and namespace left."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from whisper_serve.host.watchdog import MARK, foreign_orphans, namespace, orphans, run_mark, territory

OURS = namespace("self")  # empty where there is no /proc, and nothing is found
needs_proc = pytest.mark.skipif(not OURS, reason="no /proc")


@contextmanager
def left_by(mark: str) -> Iterator[int]:
    """A process with the mark of a run, in its environment."""
    sleeper = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        sleeper, env=os.environ | {MARK: mark}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()  # its environment can be read from now on
        yield process.pid


@needs_proc
def test_a_process_whose_main_py_has_ended_is_an_orphan() -> None:
    with left_by(f"999999999.1 {territory()}") as pid:
        assert pid in orphans()
        assert pid not in foreign_orphans()


def test_a_process_whose_main_py_runs_is_none() -> None:
    with left_by(run_mark()) as pid:
        assert pid not in (*orphans(), *foreign_orphans())


@needs_proc
@pytest.mark.parametrize(
    "elsewhere",
    [
        f"{os.getuid()} {OURS} /another/folder",
        f"{os.getuid()} pid:[1] {Path.cwd()}",
        f"12345 {OURS} {Path.cwd()}",
    ],
    ids=["folder", "namespace", "user"],
)
def test_a_process_of_another_folder_namespace_or_user_is_left_alone(elsewhere: str) -> None:
    with left_by(f"999999999.1 {elsewhere}") as pid:
        assert pid not in orphans()
        assert pid in foreign_orphans()


def test_a_run_has_a_mark_where_a_namespace_cannot_be_read() -> None:
    assert namespace(999999999) == ""
    assert run_mark().endswith(f" {os.getuid()} {OURS} {Path.cwd()}")
