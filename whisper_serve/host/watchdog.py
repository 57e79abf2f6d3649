"""Kills the processes that main.py started and that outlive it, found by a mark in their environment.

Ray ends most of them by itself when main.py is killed, but some only after a
minute. Needs /proc; elsewhere nothing is found and nothing is killed.

    python -m whisper_serve.host.watchdog MARK    waits for the end of its stdin, which main.py holds open
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

MARK = "WHISPER_SERVE_RUN"
PROC = Path("/proc")
GRACE_S = 3.0  # for processes that end by themselves
AT_ONCE = b"!"

pipes: list[IO[bytes]] = []  # to the watchdog of this process, while it has one
POLL_S = 0.1


@contextmanager
def watched() -> Iterator[None]:
    """Mark the processes started in the block; those that outlive it, or this process, are killed."""
    mark = os.environ[MARK] = run_mark()
    command = [sys.executable, "-m", "whisper_serve.host.watchdog", mark]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin
        pipes.append(process.stdin)
        try:
            yield
        finally:
            pipes.remove(process.stdin)
            process.stdin.close()  # it ends when no process is left


def hurry() -> None:
    """Have what outlives this process killed at once, without time to end by itself."""
    for pipe in pipes:
        with suppress(OSError):  # the watchdog was killed
            pipe.write(AT_ONCE)
            pipe.flush()


def run_mark() -> str:
    """The mark of a run of this process: its identity, and where it may end what it left."""
    return f"{identity(os.getpid())} {territory()}"


def territory() -> str:
    """User, process-id namespace and working folder: processes of any other are never touched."""
    return f"{os.getuid()} {namespace('self')} {Path.cwd()}"


def namespace(pid: int | str) -> str:
    """The process-id namespace of a process; empty where it has ended, is another user's, or there is no /proc."""
    try:
        return os.readlink(PROC / str(pid) / "ns/pid")
    except OSError:
        return ""


def identity(pid: int | str) -> str:
    """The process's id and start time, which no later process shares; empty if it has ended."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{pid}.{fields[19]}" if fields[0] != "Z" else ""


def marked() -> Iterator[tuple[int, str]]:
    """Id and mark of every marked process of our namespace, except this one and watchdogs."""
    ours = namespace("self")
    for folder in PROC.glob("[0-9]*"):
        pid = int(folder.name)
        with suppress(OSError):  # it ended, or is another user's
            named = f"{MARK}=".encode()
            marks = [v for v in (folder / "environ").read_bytes().split(b"\0") if v.startswith(named)]
            watches = b"whisper_serve.host.watchdog" in (folder / "cmdline").read_bytes()
            if marks and namespace(pid) == ours and pid != os.getpid() and not watches and identity(pid):
                yield pid, marks[0][len(named) :].decode()


def orphans() -> list[int]:
    """Ids of processes that a run of this user, in this folder and namespace, left when its main.py ended."""
    return [pid for pid, mark in marked() if is_over(mark) and mark.partition(" ")[2] == territory()]


def foreign_orphans() -> list[int]:
    """Ids of those that a run of another folder or user left."""
    return [pid for pid, mark in marked() if is_over(mark) and mark.partition(" ")[2] != territory()]


def is_over(mark: str) -> bool:
    """Whether the main.py of a run has ended."""
    identified = mark.partition(" ")[0]
    return identity(identified.partition(".")[0]) != identified


def of_run(mark: str) -> list[int]:
    return [pid for pid, of in marked() if of == mark and identity(pid) != mark.partition(" ")[0]]


def end(find: Callable[[], list[int]], grace_s: float) -> None:
    """Wait until `find` returns none; after `grace_s` kill those that it still returns."""
    until = time.monotonic() + grace_s
    while pids := find():
        for pid in pids if time.monotonic() > until else []:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def main() -> None:
    mark = sys.argv[1]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = sys.stdin.buffer.read()
    end(lambda: of_run(mark), 0 if asked == AT_ONCE else GRACE_S)


if __name__ == "__main__":
    main()
