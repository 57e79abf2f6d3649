"""Hosts made of Linux namespaces on a bridge, each with its own address, sshd, processes, mounts and disk.

This process is one more host of that network, 10.88.0.1: it is where a person
would sit, and where callers are. It must be in namespaces of its own (see
`__main__.py`), so that nothing it makes is seen elsewhere, or stays.
"""

import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.support.service import ROOT, wait_until

INSIDE = "WHISPER_SERVE_CLUSTER_TEST"  # set where the namespaces are our own
NEEDED = {"ip": "iproute2", "unshare": "util-linux", "sshd": "openssh-server", "rsync": "rsync"}
HERE = "10.88.0.1"
SBIN = "/usr/sbin:/usr/bin:/sbin:/bin"
DISKS = Path("/mnt")
KEYS = DISKS / "keys"
VENV = Path(sys.prefix).resolve()
MODELS = (ROOT / "models").resolve()
# Every host sees these below DISKS, and this process where they were too, be that below one of the PRIVATE folders.
SHARED = {"checkout": ROOT, "venv": VENV, "models": MODELS}
RUN, PRIVATE = Path("/run"), (DISKS, Path("/tmp"), Path("/dev/shm"))
BOOT_S = 60
SSH = ["-i", str(KEYS / "id"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-q"]
SSH += ["-o", "ConnectTimeout=5"]

SSHD = f"""
HostKey {KEYS}/host
AuthorizedKeysFile {KEYS}/id.pub
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
"""

# A host's first process, with its name and its disk. What is on the disk outlives it; the rest does not.
# The virtual environment is a layer of its own over this one, so that installing changes no other; its path stays,
# since its scripts name it.
BOOT = f"""
hostname $1
mount --bind $2/home {DISKS}/home
mount --bind $2/passwd /etc/passwd
mount --bind {DISKS}/hosts /etc/hosts
mount --bind $2/tmp /tmp
for place in /run /dev/shm; do mount -t tmpfs tmpfs $place; done
mkdir /run/sshd
mkdir -p {VENV}
mount -t overlay overlay -o lowerdir={DISKS}/venv,upperdir=$2/changed,workdir=$2/work {VENV}
{shutil.which("sshd", path=SBIN)} -D -f {KEYS}/sshd_config
exit
"""


def why_not() -> str | None:
    """Why hosts cannot be made here."""
    if sys.platform != "linux" or os.geteuid():
        return "network namespaces are made on Linux, as root"
    lacking = [package for program, package in NEEDED.items() if not shutil.which(program, path=SBIN)]
    return f"lacking: apt-get install {' '.join(lacking)}" if lacking else None


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Host:
    """10.88.0.(10 + number), switched on."""

    def __init__(self, number: int) -> None:
        self.name = f"h{number}"
        self.address = f"10.88.0.{10 + number}"
        self.disk = DISKS / self.name
        for folder in ("home/user/whisper_serve", "changed", "work", "tmp"):
            (self.disk / folder).mkdir(parents=True)
        home = self.disk / "home/user"
        (home / "whisper_venv").symlink_to(VENV)
        (home / "whisper_serve/models").symlink_to(DISKS / "models")  # a folder that all machines share
        (self.disk / "passwd").write_text(
            f"root:x:0:0:root:{DISKS}/home/user:/bin/bash\nsshd:x:102:65534::/run/sshd:/bin/false\n"
        )
        ip("netns", "add", self.name)
        ip("link", "add", f"v{number}", "type", "veth", "peer", "name", "e0", "netns", self.name)
        ip("link", "set", f"v{number}", "master", "br0", "up")
        self.link = f"v{number}"
        self._inside("address", "add", f"{self.address}/24", "dev", "e0")
        self.plug()
        self.boot()

    def _inside(self, *words: str) -> None:
        ip("-n", self.name, *words)

    def plug(self) -> None:
        self._inside("link", "set", "lo", "up")
        self._inside("link", "set", "e0", "up")
        self._inside("route", "replace", "default", "via", HERE)
        ip("link", "set", self.link, "up")

    def unplug(self) -> None:
        """Its processes live on; nothing reaches it, and nothing says so."""
        ip("link", "set", self.link, "down")

    def boot(self) -> None:
        unshare = [
            "unshare",
            "--mount",
            "--pid",
            "--uts",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "bash",
            "-ec",
        ]
        command = ["ip", "netns", "exec", self.name, *unshare, BOOT, "bash", self.name, str(self.disk)]
        env = {"PATH": SBIN, "HOME": f"{DISKS}/home/user", "USER": "root"}
        self.process = subprocess.Popen(command, env=env)
        wait_until(lambda: accepts(self.address, 22) or self.process.poll() is not None, BOOT_S)
        assert self.process.poll() is None, f"{self.name} did not start: its first process ended"

    def power_off(self) -> None:
        """Every process of it is gone at once, and its network is silent."""
        self.unplug()
        self.process.kill()
        self.process.wait()

    def power_on(self) -> None:
        self.plug()
        self.boot()

    def run(self, command: str) -> str:
        """What a command prints there."""
        ssh = ["ssh", *SSH, f"root@{self.address}", command]
        return subprocess.run(ssh, check=True, capture_output=True, text=True, timeout=120).stdout

    def run_ray(self, command: str) -> str:
        """As docs/cluster.md does over ssh, with what ~/.bashrc sets."""
        return self.run(f"bash -ic 'ray {command}' 2>&1")


def accepts(address: str, port: int) -> bool:
    with suppress(OSError):
        socket.create_connection((address, port), timeout=1).close()
        return True
    return False


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


def bind(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    mount("--bind", source, target)


def create_mounts() -> None:
    """Folders of our own for what is made here, whose files nobody else sees."""
    mount("-t", "tmpfs", "tmpfs", RUN)
    for name, path in SHARED.items():
        bind(path, RUN / name)
    for place in PRIVATE:
        mount("-t", "tmpfs", "tmpfs", place)
    for name, path in SHARED.items():
        bind(RUN / name, DISKS / name)
        bind(RUN / name, path)
    os.chdir(ROOT)


def create_network() -> None:
    """Our own place in it."""
    create_mounts()
    for folder in (KEYS, DISKS / "home", RUN / "netns"):
        folder.mkdir()
    os.environ |= {"HOME": str(DISKS / "home"), "PATH": f"{VENV}/bin:{SBIN}"}
    for key in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEYS / key], check=True)
    (KEYS / "sshd_config").write_text(SSHD)
    (DISKS / "hosts").write_text("127.0.0.1 localhost\n")
    ip("link", "set", "lo", "up")
    ip("link", "add", "br0", "type", "bridge")
    ip("address", "add", f"{HERE}/24", "dev", "br0")
    ip("link", "set", "br0", "up")
