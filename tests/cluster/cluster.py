"""The cluster of docs/cluster.md: its documented commands, run as they stand, and what Ray and Serve say of it."""

import json
import os
import shlex
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from tests.cluster.hosts import DISKS, KEYS, VENV, Host
from tests.cluster.progress import BOUND_S, NoProgress, wait_while_progressing
from tests.support.service import FAKE_ENGINE, ROOT
from whisper_serve.engines import FAKE_VARIABLE

MODELS_A_HOST = 2
REAL_MODEL = "tiny.en"
PORT = 8000
CLUSTER = "deploy/cluster-local.yaml"  # as docs/cluster.md calls it
LINKS, UP, HEAD_AGAIN = "find .", "up -y --no-config-cache", "--restart-only"
MONITOR_ERRORS, DEPLOY, DOWN = "monitor*.err", "main.py", "ray down"
MONITOR = "[a]utoscaler/_private/monitor.py"  # for pgrep -f, which so does not find its own shell
TAIL = 30  # lines

# On the head, where the dashboard is, with the key that opens it.
SERVE_STATUS = """
import pathlib, urllib.request as web
token = (pathlib.Path.home() / ".ray/auth_token").read_text().strip()
request = web.Request("http://127.0.0.1:8265/api/serve/applications/", headers={"Authorization": f"Bearer {token}"})
print(web.urlopen(request, timeout=10).read().decode())
"""


def documented(program: str) -> str:
    """The command of docs/cluster.md with these words, where it speaks of one's own machines."""
    text = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    lines = text.replace("\\\n", "").splitlines()
    here = [line.strip() for line in lines if CLUSTER in line or line.strip().startswith(LINKS)]
    (command,) = {line for line in here if program in line and "`" not in line}
    return command


@dataclass
class Cluster:
    """What a person has made by docs/cluster.md: the repository with three edits, and the hosts."""

    hosts: list[Host]
    serving: list[Host]  # that hold replicas
    repository: Path

    @property
    def head(self) -> Host:
        return self.hosts[0]

    def run(self, program: str) -> str:
        """The output of a documented command, in the repository."""
        command = documented(program)
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                ["bash", "-c", command], cwd=self.repository, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                self._wait(lambda: process.poll() is not None, lambda: os.fstat(output.fileno()).st_size)
            finally:
                process.kill()
                process.wait()
                output.seek(0)
                text = output.read()
                print(f"$ {command}\n{text}")  # pytest shows it where a test fails
        assert process.returncode == 0, f"{text}\n{self.monitor_output()}"
        return text

    def wait(self, done: Callable[[], object], bound_s: float = BOUND_S) -> None:
        """For as long as nodes or replicas come, or Ray's monitor, which brings them, writes of its steps."""
        self._wait(lambda: done() or self.monitor_ended(), self.state, bound_s)
        if self.monitor_ended():
            raise NoProgress(f"Ray's monitor has ended, so that no worker comes\n{self.monitor_output()}")

    def _wait(
        self, done: Callable[[], object], state: Callable[[], object], bound_s: float = BOUND_S
    ) -> None:
        try:
            wait_while_progressing(done, state, bound_s=bound_s)
        except NoProgress as e:
            raise NoProgress(f"{e}\n{self.monitor_output()}") from e

    def state(self) -> tuple[str, dict[str, Counter[str]], int]:
        size = sum(path.stat().st_size for path in self._monitor_files("out"))
        return self.nodes(), self.replicas(), size

    def _monitor_files(self, kind: str) -> list[Path]:
        """Oldest first: those of the last session, and of each monitor that it had."""
        sessions = sorted((self.head.disk / "tmp/ray").glob("session_2*"))
        files = sessions[-1].glob(f"logs/monitor*.{kind}") if sessions else ()
        return sorted(files, key=lambda path: path.stat().st_mtime)

    def monitor_output(self) -> str:
        """The end of what Ray's monitor wrote on the head last."""
        files = [path for kind in ("out", "log", "err") for path in self._monitor_files(kind)[-1:]]
        return "\n".join(f"--- {path.name} of the head:\n{tail(path)}" for path in files)

    def monitor_ended(self) -> bool:
        with suppress(subprocess.SubprocessError):  # the head is busy
            return not running(self.head, MONITOR)
        return False

    def set(self, settings: dict[str, str]) -> None:
        """As a person may in the environment."""
        for host in self.hosts:
            (host.disk / "home/user/.profile").write_text(settings_line(settings))

    def url(self, host: Host) -> str:
        return f"http://{host.address}:{PORT}"

    def nodes(self) -> str:
        """Of `ray status`: nodes that are active, pending, failed; empty if it does not say."""
        with suppress(subprocess.SubprocessError):
            return self.head.run_ray("status").partition("Active:")[2].partition("Resources")[0]
        return ""

    def active(self) -> int:
        lines = self.nodes().partition("Pending:")[0].splitlines()
        return sum(int(line.split()[0]) for line in lines if "local.cluster.node" in line)

    def replicas(self) -> dict[str, Counter[str]]:
        """Replicas that run, by address and by deployment, as Serve's controller says; none if it does not say."""
        try:
            status = self.head.run(f"{VENV}/bin/python -c {shlex.quote(SERVE_STATUS)}")
            deployments = json.loads(status)["applications"]["default"]["deployments"]
        except (subprocess.SubprocessError, KeyError):  # the dashboard is busy, or not there
            return {}
        found: dict[str, Counter[str]] = {}
        for name, deployment in deployments.items():
            for replica in deployment["replicas"]:
                if replica["state"] == "RUNNING":
                    found.setdefault(replica["node_ip"], Counter())[name] += 1
        return found

    def spread(self) -> bool:
        """Whether every host that is to has its ingress and its models, and all answer."""
        whole = {host.address: Counter(Ingress=1, Model=MODELS_A_HOST) for host in self.serving}
        return self.replicas() == whole and all(self.answers(host) for host in self.hosts)

    def answers(self, host: Host) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url(host)}/health", timeout=2, trust_env=False).status_code == 200
        return False


def running(host: Host, pattern: str) -> list[str]:
    """The numbers of processes there."""
    return sorted(host.run(f"pgrep -f '{pattern}' || true").split())


def tail(path: Path) -> str:
    """The last lines, without each step's whole ssh command."""
    lines = path.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if "VVINFO" not in line][-TAIL:])


def settings_line(settings: dict[str, str]) -> str:
    variables = {FAKE_VARIABLE: FAKE_ENGINE} | {f"WHISPER_SERVE__{name}": settings[name] for name in settings}
    return "export " + " ".join(f"{name}='{value}'" for name, value in variables.items()) + "\n"


def edited_checkout(hosts: list[Host], serving: list[Host]) -> Path:
    """The repository as a person has it who edited what docs/cluster.md says."""
    repository = DISKS / "repository"
    skip = [
        "--exclude=.git",
        "--exclude=.venv",
        "--exclude=/models",
        "--exclude=/speech",
        "--exclude=.*_cache",
    ]
    subprocess.run(["rsync", "-a", *skip, f"{ROOT}/", str(repository)], check=True)
    cluster = yaml.safe_load((repository / CLUSTER).read_text())
    cluster["provider"] |= {"head_ip": hosts[0].address, "worker_ips": [host.address for host in hosts[1:]]}
    cluster["auth"] = {"ssh_user": "root", "ssh_private_key": str(KEYS / "id")}
    (repository / CLUSTER).write_text(yaml.safe_dump(cluster, sort_keys=False))
    config: dict[str, dict[str, object]] = json.loads((repository / "deploy/cluster.json").read_text())
    config["server"]["num_ingress"] = len(serving)
    config["deployment"]["num_replicas"] = len(serving) * MODELS_A_HOST
    (repository / "deploy/cluster.json").write_text(json.dumps(config))
    return repository


def edit_for_redis(path: Path, address: str, password: str) -> None:
    """The edits that docs/cluster.md names for a head that may be lost."""
    config = yaml.safe_load(path.read_text())
    start = f"export RAY_REDIS_ADDRESS={address}; {config['head_start_ray_commands'][-1]}"
    config["head_start_ray_commands"][-1] = f"{start} --num-cpus=0 --redis-password={password}"
    start = f"export RAY_gcs_rpc_server_reconnect_timeout_s=600; {config['worker_start_ray_commands'][-1]}"
    config["worker_start_ray_commands"][-1] = start
    path.write_text(yaml.safe_dump(config, sort_keys=False, width=1000))
