"""A machine of its own for a service, as far as files and processes go: an empty /tmp, and no process but its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.service import ROOT

NOBODY = 65534
# Its first process reaps what others leave, as init does: SIGCHLD stays ignored when the shell becomes sleep.
SETUP = "mount -t tmpfs -o mode=1777 tmpfs /tmp && echo made && trap '' CHLD && exec sleep infinity"


@dataclass(frozen=True)
class Namespace:
    """Mount and process-id namespaces, held open by the process `pid`. Files in it: `tmp`, as seen from outside."""

    pid: int

    @property
    def tmp(self) -> Path:
        return Path(f"/proc/{self.pid}/root/tmp")

    def entered(self, *command: str) -> list[str]:
        """The command line that runs `command` in it, in this repository."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", f"--wd={ROOT}", *command]

    def ports(self) -> list[str]:
        """On which its processes listen. Not found by their environment, which Ray writes their titles over."""
        namespace = os.readlink(f"/proc/{self.pid}/ns/pid")
        connections = [c for process in members(namespace) for c in process.net_connections("tcp")]
        found = {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
        return sorted(map(str, found))

    def run(self, *command: str, user: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it as a user of the machine, with no more than that user's rights."""
        other = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        settings = [f"{name}={value}" for name, value in env.items()]
        line = self.entered(*other, "env", *settings, *command)
        return subprocess.run(line, capture_output=True, text=True, timeout=120)

    def neighbour(self, module: str, *arguments: str) -> Any:
        """Run a module that becomes another user; returns what it prints as JSON."""
        done = self.run(sys.executable, "-m", module, *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def become_nobody() -> None:
    """To be called when all is imported: another user may not be able to read this Python's folder."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def members(namespace: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(OSError):  # it has ended
            if os.readlink(f"/proc/{process.pid}/ns/pid") == namespace:
                yield process


@contextmanager
def namespace() -> Iterator[Namespace]:
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SETUP]
    with subprocess.Popen(unshare, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "made\n", "the namespace could not be made"
            yield Namespace(psutil.Process(process.pid).children()[0].pid)
        finally:
            process.kill()  # unshare ignores SIGTERM while its child runs; --kill-child ends that
