"""Joining a Ray cluster of two nodes: what `RAY_ADDRESS=... python main.py` does there."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.cluster_utils import Cluster

from tests.conftest import wav
from tests.service import ROOT, started, wait_until

FAKE = {"MODEL__ENGINE": "fake", "VAD__METHOD": "off", "QUALITY__FILTERS": "[]"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    yield cluster
    cluster.shutdown()


def test_the_service_joins_a_cluster_is_left_to_it_and_a_second_run_takes_over(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    with started(FAKE, sys.executable, "main.py", "--detach") as running:
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


def test_cluster_yaml_is_what_ray_s_own_schema_asks_for() -> None:
    config = yaml.safe_load(Path(ROOT / "cluster.yaml").read_text())
    validate_config(prepare_config(config))
    assert config["file_mounts"] == {"~/whisper_serve": "."}


def test_a_mistake_in_cluster_yaml_would_be_found() -> None:
    config = yaml.safe_load(Path(ROOT / "cluster.yaml").read_text())
    config["head_node_typ"] = config.pop("head_node_type")
    with pytest.raises(Exception, match="head_node_typ"):
        validate_config(prepare_config(config))
