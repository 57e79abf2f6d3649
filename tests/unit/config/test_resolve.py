"""What a config leaves open, as it is resolved for a machine or a cluster."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import ROOT
from whisper_serve.config.defaults import DEVICE_DEFAULTS, Device, DeviceDefaults
from whisper_serve.config.load import Config, fields_of, load_config
from whisper_serve.config.resolve import Limits, engine_settings, resolve
from whisper_serve.engines import EngineSettings
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
    config = load_config(ROOT / "deploy/cluster-gpu.json")
    resolved = resolve(config, HEAD_ALONE)
    assert (resolved.device, resolved.limits.replica_gpus) == ("cuda", 0.25)
    fixed = config.model_copy(
        update={"deployment": config.deployment.model_copy(update={"autoscaling": None})}
    )
    with pytest.raises(ConfigError, match="shows no GPU"):
        resolve(fixed, HEAD_ALONE)


def test_bounds_are_those_of_all_replicas_that_may_come() -> None:
    few = resolve(scaled(min_replicas=1, max_replicas=2), HEAD_ALONE).limits
    many = resolve(scaled(min_replicas=1, max_replicas=8), HEAD_ALONE).limits
    assert many.max_queued_audio_s == 4 * few.max_queued_audio_s
    assert many.max_parallel_windows == 4 * few.max_parallel_windows


@pytest.mark.parametrize(("machine", "device"), [(HEAD_ALONE, "cpu"), (RACK, "cuda")])
def test_what_is_left_open_is_decided_by_the_device(machine: Machine, device: Device) -> None:
    limits = resolve(scaled(max_replicas=4), machine).limits
    defaults = DEVICE_DEFAULTS[device]
    assert limits.target_audio_s == defaults.target_audio_s
    assert limits.max_batch_audio_s == defaults.batch_audio_s
    assert limits.max_ongoing_windows == defaults.ongoing_windows
    assert limits.max_queued_audio_s == 4 * defaults.queued_audio_s
    assert limits.max_parallel_windows == 4 * defaults.parallel_windows


@pytest.mark.parametrize("machine", [HEAD_ALONE, RACK], ids=["cpu", "gpu"])
def test_nothing_is_left_open_in_a_resolved_config(machine: Machine) -> None:
    resolved = resolve(Config(), machine)
    assert resolved.device in DEVICE_DEFAULTS
    for limit in fields(Limits):
        assert isinstance(getattr(resolved.limits, limit.name), (int, float)), limit.name


def test_what_the_config_says_is_not_decided_for_it() -> None:
    config = Config.model_validate(
        {
            "server": {"num_cpus": 16, "max_parallel_windows": 3, "max_queued_audio_s": 7, "max_decodes": 5},
            "deployment": {
                "max_batch_audio_s": 31,
                "gpu_per_replica": 0.5,
                "cpu_per_replica": 2.5,
                "autoscaling": {"target_audio_s": 11},
            },
        }
    )
    assert resolve(config, RACK).limits == Limits(
        num_cpus=16,
        max_decodes=5,
        max_parallel_windows=3,
        max_ongoing_windows=DEVICE_DEFAULTS["cuda"].ongoing_windows,
        max_queued_audio_s=7,
        max_batch_audio_s=31,
        target_audio_s=11,
        replica_threads=2,
        replica_gpus=0.5,
    )


DESCRIBED = {
    "batch_audio_s": "deployment.max_batch_audio_s",
    "queued_audio_s": "server.max_queued_audio_s",
    "parallel_windows": "server.max_parallel_windows",
    "target_audio_s": "deployment.autoscaling.target_audio_s",
}


@pytest.mark.parametrize("default", [field.name for field in fields(DeviceDefaults)])
def test_a_description_names_the_defaults_that_are_taken(default: str) -> None:
    if default == "ongoing_windows":
        return  # no setting
    *path, setting = DESCRIBED[default].split(".")
    description = fields_of(path)[setting].description or ""
    for values in DEVICE_DEFAULTS.values():
        assert str(getattr(values, default)) in description


def test_an_engine_is_loaded_for_the_device_and_threads_that_were_decided() -> None:
    config = Config.model_validate(
        {"model": {"engine": "fake", "context": "full"}, "deployment": {"cpu_per_replica": 3.5}}
    )
    assert engine_settings(resolve(config, HEAD_ALONE)) == EngineSettings(
        weights=None, device="cpu", cpus=3, compute_type="auto", context="full"
    )


def test_paths_of_a_resolved_config_are_absolute() -> None:
    config = Config.model_validate(
        {"server": {"dead_letter_dir": "letters"}, "logging": {"error_file": "errors.log"}}
    )
    resolved = resolve(config, HEAD_ALONE)
    assert resolved.server.dead_letter_dir == Path.cwd() / "letters"
    assert resolved.model.model_dir == (Path.cwd() / "models").resolve()
    assert resolved.logging.error_file == str(Path.cwd() / "errors.log")
    assert resolved.logging.access_file is None


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        (
            {"min_replicas": 5},
            "deployment.autoscaling.min_replicas is 5; it should be at most max_replicas, 4",
        ),
        ({"max_replica": 5}, "deployment.autoscaling.max_replica is not a setting; did you mean"),
        (4, "deployment.autoscaling is 4; it should be an object"),
    ],
)
def test_a_mistake_in_autoscaling_is_one_sentence(tmp_path: Path, scaling: Any, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"deployment": {"autoscaling": scaling}}))
    with pytest.raises(ConfigError) as e:
        load_config(path)
    assert message in str(e.value)


def test_more_replicas_than_the_cpus_can_run_are_refused_unless_the_operator_insists() -> None:
    two_cores = Machine(cpus=2, gpus=0, all_cpus=2)
    with pytest.raises(
        ConfigError, match=r"40 replicas of 0\.5 CPUs and the ingress need 21 CPUs, but this machine has 2"
    ):
        resolve(Config(deployment={"num_replicas": 40}), two_cores)
    assert resolve(Config(deployment={"num_replicas": 40}, server={"num_cpus": 21}), two_cores)
    assert resolve(Config(deployment={"num_replicas": 40}), Machine(cpus=2, gpus=0)), "a cluster may grow"
