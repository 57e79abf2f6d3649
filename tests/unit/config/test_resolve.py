"""Configs for clusters, and what is made of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import ROOT
from whisper_serve.config.load import Config, load_config
from whisper_serve.config.resolve import resolve
from whisper_serve.errors import ConfigError
from whisper_serve.host.hardware import Machine

HEAD_ALONE = Machine(cpus=4, gpus=0)
RACK = Machine(cpus=16, gpus=8)


def scaled(**scaling: Any) -> Config:
    return Config.model_validate({"deployment": {"autoscaling": scaling}})


@pytest.mark.parametrize("name", ["cluster.json", "cluster-gpu.json"])
def test_the_shipped_configs_for_clusters_fit_one(name: str) -> None:
    config = resolve(load_config(ROOT / "deploy" / name), HEAD_ALONE)
    assert config.deployment.fewest in (0, config.deployment.num_replicas)


def test_gpus_that_are_not_there_yet_may_be_asked_for_where_no_replica_must_be() -> None:
    config = resolve(load_config(ROOT / "deploy/cluster-gpu.json"), HEAD_ALONE)
    assert (config.model.device, config.deployment.gpu_per_replica) == ("cuda", 0.25)
    must = config.model_copy(
        update={"deployment": config.deployment.model_copy(update={"autoscaling": None})}
    )
    with pytest.raises(ConfigError, match="shows no GPU"):
        resolve(must, HEAD_ALONE)


def test_bounds_are_those_of_all_replicas_that_may_come() -> None:
    few = resolve(scaled(min_replicas=1, max_replicas=2), HEAD_ALONE).server
    many = resolve(scaled(min_replicas=1, max_replicas=8), HEAD_ALONE).server
    assert many.max_queued_audio_s == 4 * (few.max_queued_audio_s or 0)
    assert many.max_parallel_windows == 4 * (few.max_parallel_windows or 0)


@pytest.mark.parametrize(("machine", "seconds"), [(HEAD_ALONE, 60), (RACK, 960)], ids=["cpu", "gpu"])
def test_what_a_replica_should_have_in_hand_is_decided_by_the_device(
    machine: Machine, seconds: float
) -> None:
    scaling = resolve(scaled(max_replicas=4), machine).deployment.autoscaling
    assert scaling is not None
    assert scaling.target_audio_s == seconds


@pytest.mark.parametrize(
    ("scaling", "said"),
    [
        ({"min_replicas": 5}, "min_replicas is more than max_replicas"),
        ({"max_replica": 5}, "deployment.autoscaling.max_replica is not a setting; did you mean"),
        (4, "deployment.autoscaling is 4; it should be an object"),
    ],
)
def test_a_mistake_in_autoscaling_is_one_sentence(tmp_path: Path, scaling: Any, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"deployment": {"autoscaling": scaling}}))
    with pytest.raises(ConfigError) as e:
        load_config(path)
    assert said in str(e.value)
