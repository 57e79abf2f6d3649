"""What the two deployments are given of a resolved config."""

import pytest

from whisper_serve.app import bounds, model_actor, shares_usage
from whisper_serve.config.defaults import DEVICE_DEFAULTS
from whisper_serve.config.load import Config
from whisper_serve.config.resolve import resolve
from whisper_serve.host.hardware import Machine

LAPTOP = Machine(cpus=4, gpus=0)
RACK = Machine(cpus=16, gpus=8)


def test_each_ingress_admits_its_share_of_the_queue() -> None:
    config = Config.model_validate({"server": {"num_ingress": 2}, "deployment": {"num_replicas": 3}})
    assert bounds(resolve(config, LAPTOP)).queued_s == 3 * DEVICE_DEFAULTS["cpu"].queued_audio_s / 2


def test_gpus_are_reserved_only_where_the_device_is_one() -> None:
    config = Config.model_validate({"deployment": {"gpu_per_replica": 0.5}})
    assert model_actor(resolve(config, RACK))["num_gpus"] == 0.5
    assert model_actor(resolve(config, LAPTOP))["num_gpus"] == 0


@pytest.mark.parametrize(
    ("num_ingress", "limits", "shared"),
    [(1, {"requests_per_minute": 1}, False), (2, {}, False), (2, {"audio_s_per_day": 9}, True)],
)
def test_limits_are_counted_in_one_place_where_ingresses_share_some(
    num_ingress: int, limits: dict[str, float], shared: bool
) -> None:
    keys = [{"name": "ada", "sha256": "0" * 64} | limits]
    config = Config.model_validate({"server": {"num_ingress": num_ingress}, "security": {"keys": keys}})
    assert shares_usage(resolve(config, LAPTOP)) == shared
