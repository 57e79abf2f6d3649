"""`RAY_ADDRESS=... python main.py` on a Ray cluster of two nodes, and the files that `ray up` reads."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.cluster_utils import Cluster

from loadtest.common.service import free_port
from tests.conftest import wav
from tests.faults.test_deaths import Load
from tests.support.service import FAKE, ROOT, started, wait_until
from tests.walls.attack import send

TOO_MANY_HEADERS = b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"connection: close\r\n\r\n"


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
        answers = [send(running.url, TOO_MANY_HEADERS) for _ in range(8)]  # the nodes' proxies take turns
        assert {answer.split(b" ")[1] for answer in answers} == {b"431"}


def test_resources_that_the_cluster_lacks_are_one_sentence(
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


FILES = ["cluster.yaml", "deploy/cluster-local.yaml"]


def read(path: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / path).read_text())
    return config


@pytest.mark.parametrize("path", FILES)
def test_cluster_files_are_valid_by_ray_s_own_schema(path: str) -> None:
    config = read(path)
    validate_config(prepare_config(config))
    assert config["file_mounts"]["~/whisper_serve"] == "."


@pytest.mark.parametrize("path", FILES)
def test_the_command_that_fetches_weights_in_a_cluster_file_runs(path: str, tmp_path: Path) -> None:
    config = read(path)
    commands = config["setup_commands"] + config.get("worker_setup_commands", [])
    (command,) = [command for command in commands if "fetch_weights" in command]
    (tmp_path / "whisper_serve").symlink_to(ROOT)
    env = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    env |= {
        "WHISPER_SERVE__MODEL__ENGINE": "fake",
        "WHISPER_SERVE__MODEL__DEVICE": "cpu",
    }  # which has no weights
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("rsync"), reason="lacking: apt-get install rsync")
def test_a_link_named_models_is_not_copied_to_the_machines_where_it_would_dangle(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "whisper_serve/models").mkdir(parents=True)
    (here / "whisper_serve/models/code.py").touch()
    for name in ("models", "speech"):
        (here / name).symlink_to(tmp_path)
    excluded = [option for name in read(FILES[1])["rsync_exclude"] for option in ("--exclude", name)]
    subprocess.run(["rsync", "-a", *excluded, f"{here}/", str(there)], check=True)
    assert sorted(path.name for path in there.rglob("*")) == ["code.py", "models", "whisper_serve"]


def test_both_cluster_files_set_machines_up_and_start_the_head_alike() -> None:
    aws, local = map(read, FILES)
    for part in ("file_mounts", "rsync_exclude", "head_start_ray_commands"):
        assert aws[part] == local[part]
    *before, start = aws["worker_start_ray_commands"]  # where it fails, AWS gives another machine
    assert [*before, f"{start} || ray stop"] == local["worker_start_ray_commands"]
    commands = [
        command.replace(" boto3", "") for command in aws["setup_commands"] + aws["worker_setup_commands"]
    ]
    assert [command.replace("cluster-gpu", "cluster") for command in commands] == local["setup_commands"]


def test_a_mistake_in_cluster_yaml_would_be_found() -> None:
    config = read("cluster.yaml")
    config["head_node_typ"] = config.pop("head_node_type")
    with pytest.raises(Exception, match="head_node_typ"):
        validate_config(prepare_config(config))
