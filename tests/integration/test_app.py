"""What the two deployments are given of a resolved config."""

from whisper_serve.app import bounds, model_actor
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
