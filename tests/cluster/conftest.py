"""The cluster of docs/cluster.md on three hosts, for all tests of this folder."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.cluster.cluster import CLUSTER, DEPLOY, LINKS, UP, Cluster, edit_for_redis, edited_checkout
from tests.cluster.hosts import HERE, INSIDE, SBIN, Host, accepts, create_network, why_not
from tests.support.service import FAKE, wait_until

SERVING = 3
PASSWORD = "of-this-test-only"  # of Redis


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
def hosts(network: None, redis: str | None) -> Iterator[list[Host]]:
    """Those that serve, and before them a head that does not, where its state is kept in Redis."""
    hosts = [Host(number) for number in range(SERVING + bool(redis))]
    yield hosts
    for host in hosts:
        host.power_off()


@pytest.fixture(scope="session")
def not_up(hosts: list[Host], redis: str | None) -> Cluster:
    """All edits made, nothing started: for the fake engine; with Redis, where there is one."""
    for name in [name for name in os.environ if name.startswith(("RAY_", "WHISPER_SERVE__"))]:
        del os.environ[name]
    serving = hosts[-SERVING:]
    cluster = Cluster(hosts, serving, edited_checkout(hosts, serving))
    if redis:
        edit_for_redis(cluster.repository / CLUSTER, redis, PASSWORD)
    subprocess.run(["ray", "get-auth-token", "--generate"], check=True, capture_output=True)
    cluster.set(FAKE)
    return cluster


@pytest.fixture(scope="session")
def cluster(not_up: Cluster) -> Cluster:
    """Up, with the service deployed."""
    cluster = not_up
    assert cluster.run(LINKS) == ""
    cluster.run(UP)
    cluster.wait(lambda: cluster.active() == len(cluster.hosts))
    cluster.run(DEPLOY)
    cluster.wait(cluster.spread)
    return cluster
