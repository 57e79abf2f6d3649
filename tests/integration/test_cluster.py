"""Joining a Ray cluster of two nodes: what `RAY_ADDRESS=... python main.py` does there."""

import sys
from collections.abc import Iterator

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.cluster_utils import Cluster

from tests.conftest import wav
from tests.faults.test_deaths import Load
from tests.support.service import FAKE, ROOT, free_port, started, wait_until


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """A cluster's proxies keep the port of the first service."""
    return FAKE | {"SERVER__PORT": str(free_port()), "SERVER__DEDICATED_CPU": "false"}


def test_the_service_joins_a_cluster_is_left_to_it_and_a_second_run_takes_over(
    cluster: Cluster, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    with started(settings, sys.executable, "main.py", "--detach") as running:
        assert running.wait(90) == 0, running.output
        assert "is ready" in running.output
        with running.client() as client:
            files = {"audio_file": ("a.wav", wav(2))}
            wait_until(lambda: client.get("/readyz").status_code == 200)
            assert client.post("/transcribe", files=files).json()["text"].startswith("2.0 seconds")


def test_what_the_cluster_cannot_give_is_one_sentence(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    with started(FAKE | {"DEPLOYMENT__CPU_PER_REPLICA": "64"}) as running:
        assert running.wait(90) == 2
    assert "the Ray cluster has" in running.output


def test_a_node_is_lost_and_callers_who_try_again_lose_nothing(
    cluster: Cluster, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    spread = {"NUM_REPLICAS": "3", "MAX_REPLICAS_PER_NODE": "1", "CPU_PER_REPLICA": "0.1"}
    settings = settings | {f"DEPLOYMENT__{name}": value for name, value in spread.items()}
    with started(settings, sys.executable, "main.py", "--detach") as running:
        assert running.wait(90) == 0, running.output
        load = Load(running.url, 4, patience_s=30)
        try:
            load.wait_for_more(20)
            cluster.remove_node(node, allow_graceful=False)
            load.wait_for_more(60)
            assert load.counts()["lost"] == []
        finally:
            load.process.kill()
            load.process.wait()


@pytest.mark.parametrize("path", ["cluster.yaml", "deploy/cluster-local.yaml"])
def test_cluster_files_are_what_ray_s_own_schema_asks_for(path: str) -> None:
    config = yaml.safe_load((ROOT / path).read_text())
    validate_config(prepare_config(config))
    assert config["file_mounts"]["~/whisper_serve"] == "."


def test_both_cluster_files_set_machines_up_and_start_the_head_alike() -> None:
    aws, local = (
        yaml.safe_load((ROOT / path).read_text()) for path in ("cluster.yaml", "deploy/cluster-local.yaml")
    )
    for part in ("file_mounts", "rsync_exclude", "head_start_ray_commands", "worker_start_ray_commands"):
        assert aws[part] == local[part]
    commands = [
        command.replace(" boto3", "") for command in aws["setup_commands"] + aws["worker_setup_commands"]
    ]
    assert [command.replace("cluster-gpu", "cluster") for command in commands] == local["setup_commands"]


def test_a_mistake_in_cluster_yaml_would_be_found() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    config["head_node_typ"] = config.pop("head_node_type")
    with pytest.raises(Exception, match="head_node_typ"):
        validate_config(prepare_config(config))
