import json
import subprocess
import sys

import landlockpy
import pytest

from tests.support.service import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what other systems take away is less")

ATTEMPTS = """
import json, os, signal, socket, subprocess, sys, tempfile
from whisper_serve.audio.confinement import confine

def opened(path):
    with open(path): return True

def connected():
    with socket.socket() as s:
        try: s.connect(("127.0.0.1", 9))
        except ConnectionRefusedError: return True
        return True

def written():
    with open(memory, "wb", closefd=False) as file: return bool(file.write(b"x")) and not file.flush()

def descriptors():
    pipes = []
    try:
        while True: pipes += os.pipe()
    except OSError: return len(pipes)

def attempt(what):
    try: return what()
    except OSError as e: return type(e).__name__

memory = os.memfd_create("memory")
attempts = {
    "open": lambda: opened("/etc/hostname"),
    "create": lambda: os.mkdir("confined") or True,
    "connect": connected,
    "write": written,
    "kill": lambda: os.kill(os.getppid(), 0) or True,
    "run": lambda: os.execv("/bin/true", ["true"]),
    "descriptors": descriptors,
}
confine(free_descriptors=2)
print(json.dumps({name: attempt(what) for name, what in attempts.items()}))
"""


def test_a_confined_process_can_do_nothing_that_a_decoder_need_not() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ATTEMPTS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
    found = json.loads(ended.stdout)
    assert (found["write"], found["descriptors"]) == ("OSError", 2)
    if landlockpy.abi_version() < 6:
        pytest.skip("the kernel has no Landlock, or an old one")
    del found["write"], found["descriptors"]
    assert found == dict.fromkeys(found, "PermissionError")
