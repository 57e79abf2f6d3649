"""A window that kills every replica it is sent to, on a Ray cluster whose two nodes have a replica and a crash journal each."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray.cluster_utils import Cluster

from tests.conftest import wav
from tests.faults.test_deaths import load
from tests.support.service import FAKE, FAKE_ENGINE, Running, started, wait_until
from whisper_serve.engines import FAKE_VARIABLE
from whisper_serve.telemetry.metrics import REPLICA_DEATHS

DIED = "a model replica died with a window in flight"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder for temporary files of each node, as on two machines."""
    return [tmp_path_factory.mktemp(f"machine{number}") for number in range(2)]


@pytest.fixture(scope="module")
def cluster(machines: list[Path]) -> Iterator[Cluster]:
    here, there = ({"TMPDIR": str(folder), FAKE_VARIABLE: FAKE_ENGINE} for folder in machines)
    head = {"num_cpus": 1, "include_dashboard": False, "env_vars": here}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1, env_vars=there)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def service(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    settings = FAKE | {
        "LOGGING__FILE": str(folder / "service.log"),
        "SERVER__DEAD_LETTER_DIR": str(folder / "letters"),
        "SERVER__DEDICATED_CPU": "false",
        "DEPLOYMENT__NUM_REPLICAS": "2",
        "DEPLOYMENT__MAX_REPLICAS_PER_NODE": "1",
        "DEPLOYMENT__CPU_PER_REPLICA": "0.1",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        with started(settings) as running:
            yield running.wait_until_ready()


def log_lines(service: Running, message: str) -> list[dict[str, Any]]:
    log = Path(service.env["WHISPER_SERVE__LOGGING__FILE"])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["message"] == message]


def starts(service: Running) -> int:
    """Replicas started so far."""
    return len(log_lines(service, "model loaded"))


def journals_of_the_dead(machines: list[Path], name: str) -> list[int]:
    """On each machine, the number of replicas that died with this window."""
    folders = [next(machine.glob("whisper_serve-*/crash_journal")) for machine in machines]
    return [
        sum((folder / f"{file.name.split('.')[1]}.lock").exists() for file in folder.glob(f"{name}.*"))
        for folder in folders
    ]


def send_poison(service: Running, audio: bytes, request_id: str) -> httpx.Response:
    with service.client() as client:
        return client.post(
            "/transcribe",
            files={"audio_file": ("a.wav", audio)},
            data={"prompt": "die", "language": "en"},
            headers={"x-request-id": request_id},
        )


def test_a_window_that_kills_replicas_kills_two_in_the_whole_cluster_and_others_are_transcribed(
    service: Running, machines: list[Path]
) -> None:
    wait_until(lambda: starts(service) == 2)
    audio = wav(7.7, level=random.uniform(0.1, 0.9))  # unknown to any journal
    with load(service, patience_s=0) as innocents:
        innocents.wait_for_more(20)
        refused = send_poison(service, audio, "poison-1")
        innocents.wait_for_more(20)
        wait_until(lambda: starts(service) == 4, 60)
        again = [send_poison(service, audio, f"again-{number}") for number in range(6)]
        innocents.wait_for_more(20)
        counts = innocents.counts()
    for answer in (refused, *again):
        assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false"), answer.text
        assert "2 model replicas died" in answer.json()["error"]
    assert counts["lost"] == []
    assert counts["tried_again"] == 0
    assert starts(service) == 4
    deaths = [line for line in log_lines(service, DIED) if line["request_id"] == "poison-1"]
    assert [line["deaths"] for line in deaths] == [1, 2]
    assert len({line["replica"] for line in deaths} - {""}) == 2
    (letter,) = Path(service.env["WHISPER_SERVE__SERVER__DEAD_LETTER_DIR"]).glob("*.json")
    assert journals_of_the_dead(machines, letter.stem) == [1, 1]
    assert [line for line in log_lines(service, DIED) if line["deaths"] > 1] == deaths[1:]


def test_deaths_are_counted_by_the_ingress(service: Running) -> None:
    def counted() -> float:
        with service.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(REPLICA_DEATHS.exported))

    wait_until(lambda: counted() == len(log_lines(service, DIED)), 40)
