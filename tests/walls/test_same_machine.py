"""What another user of the machine, or a full disk, does to a service. As root: in namespaces of their own."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import wav
from tests.support.namespaces import NOBODY, Namespace, namespace
from tests.support.service import FAKE, Running, started, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for namespaces and other users")
PRIVATE = "whisper_serve-0"
DISK_MB = 20
# What a port answers to whoever asks: that it lives, what it is, its metrics.
HARMLESS = {
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "GET metrics",
    "GET /",
    "GET /metrics",
    "GET /favicon.ico",
    "GET /api/authentication_mode",
    "GET /api/healthz",
    "GET /api/gcs_healthz",
    "GET /api/local_raylet_healthz",
}


@pytest.fixture(scope="module")
def machine() -> Iterator[Namespace]:
    with namespace() as made:
        made.run("mkdir", "/tmp/small")
        made.run("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0755", "tmpfs", "/tmp/small")
        yield made


@pytest.fixture(scope="module")
def service(machine: Namespace) -> Iterator[Running]:
    """Uploads go to a small disk, Ray's files to another."""
    settings = FAKE | {"SERVER__DASHBOARD": "true"}
    command = machine.entered("env", "TMPDIR=/tmp/small", "RAY_TMPDIR=/tmp", sys.executable, "main.py")
    with started(settings, *command) as running:
        yield running.wait_until_ready()


def post(service: Running, seconds: float) -> httpx.Response:
    with service.client() as client:
        return client.post("/transcribe", files={"audio_file": ("a.wav", wav(seconds))})


def ready(service: Running) -> httpx.Response:
    with service.client() as client:
        return client.get("/readyz")


def refused_start(machine: Namespace) -> str:
    """What a service says that does not start."""
    with started(FAKE, *machine.entered(sys.executable, "main.py")) as running:
        assert running.wait() == 2, running.output
        return running.output


def test_another_user_finds_nothing_in_tmp_that_he_can_read_or_move(
    machine: Namespace, service: Running
) -> None:
    found = machine.neighbour("tests.walls.neighbour", "/tmp")
    assert found == {"sockets": [], "written": ["/tmp"], "moved": []}
    assert list(machine.tmp.glob(f"{PRIVATE}/ray/session_*/sockets/raylet"))


def test_a_replica_that_dies_is_replaced_while_a_neighbour_does_his_worst(
    machine: Namespace, service: Running
) -> None:
    machine.neighbour("tests.walls.neighbour", "/tmp")
    replicas = [p for p in service.processes() if "ServeReplica:default:Model" in " ".join(p.cmdline())]
    for replica in replicas:
        replica.kill()
    gone, _ = psutil.wait_procs(replicas, timeout=30)
    assert len(gone) == len(replicas) == 2
    assert post(service, 2).status_code == 200


def test_the_same_user_s_ray_status_and_dashboard_go_on_working(machine: Namespace, service: Running) -> None:
    status = machine.run(str(Path(sys.executable).with_name("ray")), "status", RAY_AUTH_MODE="token")
    assert "Active:\n 1 node_" in status.stdout, status.stderr
    ready = json.loads(next(line for line in service.lines if "is ready" in line))
    assert httpx.get(ready["dashboard"], trust_env=False).status_code == 200


def test_no_port_takes_orders_without_ray_s_token(machine: Namespace, service: Running) -> None:
    tried = machine.neighbour("tests.walls.tokenless", *machine.ports())
    answered = {call for port in tried.values() for call in port["answered"]}
    assert answered <= HARMLESS
    # sixteen, but for those that another service of the machine has taken
    assert sum(port["denied"] > 0 for port in tried.values()) >= 12
    assert ready(service).status_code == 200


@pytest.mark.parametrize("planted", ["link", "folder"])
def test_what_another_user_planted_in_its_place_stops_the_start_with_a_reason(planted: str) -> None:
    with namespace() as machine:
        victim = machine.tmp / "victim"
        victim.mkdir()
        (victim / "dead.lock").touch()
        os.utime(victim / "dead.lock", (0, 0))
        make = ["ln", "-s", "/tmp/victim"] if planted == "link" else ["mkdir"]
        assert machine.run(*make, f"/tmp/{PRIVATE}", user=NOBODY).returncode == 0
        said = refused_start(machine)
        kind = "is a link, planted by" if planted == "link" else "belongs to"
        assert said == (
            f"error: /tmp/{PRIVATE} {kind} user nobody; remove it, or set TMPDIR to a folder in which no other user can "
            "write, in place of /tmp\n"
        )
        assert [path.name for path in victim.iterdir()] == ["dead.lock"]


def test_a_full_disk_is_503_for_what_it_would_have_to_hold_until_there_is_room(
    machine: Namespace, service: Running
) -> None:
    filler = machine.tmp / "small" / "filler"
    assert ready(service).status_code == 200
    filler.write_bytes(bytes((DISK_MB - 1) * 2**20))
    full, small, unready = post(service, 100), post(service, 10), ready(service)
    filler.unlink()
    assert (full.status_code, small.status_code, unready.status_code) == (503, 200, 503), full.text
    assert full.json()["error"] == "the service has no room for this upload; try again later"
    assert unready.json()["reason"] == "there is too little room for uploads in the temporary folder"
    wait_until(lambda: "no room for uploads" in service.output)
    assert '"level": "ERROR", "message": "no room for uploads"' in service.output
    assert (post(service, 100).status_code, ready(service).status_code) == (200, 200)
