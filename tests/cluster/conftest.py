"""The cluster of docs/cluster.md on three hosts, for all tests of this folder: its very commands, its very files."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import yaml

from tests.cluster.hosts import DISKS, HERE, INSIDE, KEYS, SBIN, Host, accepts, create_network, why_not
from tests.support.service import FAKE, ROOT, wait_until

SERVING, MODELS_A_HOST = 3, 2
PORT = 8000
PASSWORD = "told-to-nobody"  # of Redis
CLUSTER = "deploy/cluster-local.yaml"  # as docs/cluster.md calls it
UP, HEAD_AGAIN, DEPLOY, DOWN = "up -y --no-config-cache", "--restart-only", "main.py", "ray down"

# On the head, where the dashboard is, with the key that opens it.
ASK_SERVE = """
import pathlib, urllib.request as web
token = (pathlib.Path.home() / ".ray/auth_token").read_text().strip()
asked = web.Request("http://127.0.0.1:8265/api/serve/applications/", headers={"Authorization": f"Bearer {token}"})
print(web.urlopen(asked, timeout=10).read().decode())
"""


def documented(program: str) -> str:
    """The command of docs/cluster.md that begins so, where it speaks of one's own machines."""
    text = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    lines = text.replace("\\\n", "").splitlines()
    (command,) = {line.strip() for line in lines if program in line and CLUSTER in line and "`" not in line}
    return command


def settings_line(settings: dict[str, str]) -> str:
    return "export " + " ".join(f"WHISPER_SERVE__{name}='{value}'" for name, value in settings.items()) + "\n"


@dataclass
class Cluster:
    """What a person has made by docs/cluster.md: the repository with three edits, and the hosts."""

    hosts: list[Host]
    serving: list[Host]  # that hold replicas
    repository: Path
    said: list[str] = field(default_factory=list)

    @property
    def head(self) -> Host:
        return self.hosts[0]

    def run(self, program: str) -> None:
        """A documented command, in the repository."""
        command = documented(program)
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.repository, capture_output=True, text=True, timeout=400
        )
        self.said.append(f"$ {command}\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, self.said[-1]

    def set(self, settings: dict[str, str]) -> None:
        """As a person may in the environment."""
        for host in self.hosts:
            (host.disk / "home/user/.profile").write_text(settings_line(settings))

    def url(self, host: Host) -> str:
        return f"http://{host.address}:{PORT}"

    def replicas(self) -> dict[str, Counter[str]]:
        """Replicas that run, by address and by deployment, as Serve's controller knows them; none if it does not say."""
        try:
            said = self.head.run(f"{sys.executable} -c {shlex.quote(ASK_SERVE)}")
            deployments = json.loads(said)["applications"]["default"]["deployments"]
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


def checked_out(hosts: list[Host], serving: list[Host]) -> Path:
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


@pytest.fixture(scope="session")
def network() -> None:
    if reason := why_not():
        pytest.skip(reason)
    if INSIDE not in os.environ:
        pytest.skip("it would change this machine's own network: `make test-cluster` gives it another")
    create_network()


@pytest.fixture(scope="session")
def redis(network: None) -> Iterator[str | None]:
    """The address of one here, where a person sits; None where there is none."""
    program = shutil.which("redis-server", path=SBIN)
    if program is None:
        yield None
        return
    command = [program, "--bind", HERE, "--requirepass", PASSWORD, "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: accepts(HERE, 6379))
    yield f"{HERE}:6379"
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def hosts(network: None, redis: str | None) -> list[Host]:
    """Those that serve, and before them a head that does not, where Redis remembers for it."""
    return [Host(number) for number in range(SERVING + bool(redis))]


@pytest.fixture(scope="session")
def cluster(hosts: list[Host], redis: str | None) -> Cluster:
    """Up, with the service deployed, on the fake engine; with Redis, where there is one."""
    for name in [name for name in os.environ if name.startswith(("RAY_", "WHISPER_SERVE__"))]:
        del os.environ[name]
    serving = hosts[-SERVING:]
    cluster = Cluster(hosts, serving, checked_out(hosts, serving))
    if redis:
        remember(cluster.repository / CLUSTER, redis)
    subprocess.run(["ray", "get-auth-token", "--generate"], check=True, capture_output=True)
    cluster.set(FAKE)
    cluster.run(UP)
    wait_until(lambda: nodes(cluster) == len(cluster.hosts), 120)
    cluster.run(DEPLOY)
    wait_until(cluster.spread, 120)
    return cluster


def remember(path: Path, redis: str) -> None:
    """The edits that docs/cluster.md names for a head that may be lost."""
    config = yaml.safe_load(path.read_text())
    start = f"export RAY_REDIS_ADDRESS={redis}; {config['head_start_ray_commands'][-1]}"
    config["head_start_ray_commands"][-1] = f"{start} --num-cpus=0 --redis-password={PASSWORD}"
    start = f"export RAY_gcs_rpc_server_reconnect_timeout_s=600; {config['worker_start_ray_commands'][-1]}"
    config["worker_start_ray_commands"][-1] = start
    path.write_text(yaml.safe_dump(config, sort_keys=False, width=1000))


def nodes(cluster: Cluster) -> int:
    said = cluster.head.run_ray("status")
    active = said.partition("Active:")[2].partition("Pending:")[0]
    return sum(int(line.split()[0]) for line in active.splitlines() if "local.cluster.node" in line)
