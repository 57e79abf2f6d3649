"""What a config takes of a machine's memory, and what is refused."""

import math

import pytest

from whisper_serve.config.load import Config
from whisper_serve.config.resolve import resolve
from whisper_serve.errors import ConfigError
from whisper_serve.host.hardware import Machine, this_machine


def machine(memory_gb: float = math.inf, shared_gb: float = math.inf) -> Machine:
    return Machine(cpus=4, gpus=0, memory_mb=memory_gb * 1000, shared_memory_mb=shared_gb * 1000)


def test_two_replicas_of_base_are_estimated_near_what_was_measured() -> None:
    taken = resolve(Config(), machine()).memory
    assert taken.used_mb == pytest.approx(4400, rel=0.05)
    assert (
        str(taken) == "about 4.4 GB, and up to 492 MB of shared memory for audio on its way to the replicas"
    )


def test_replicas_that_cannot_fit_are_refused_with_what_to_change() -> None:
    config = Config(model={"size": "large-v3"}, deployment={"num_replicas": 3})
    with pytest.raises(
        ConfigError,
        match=r"3 replicas of large-v3 take more than 5\.9 GB of memory, and this machine has 4\.0",
    ):
        resolve(config, machine(memory_gb=4))


def test_a_folder_of_weights_and_the_fake_engine_are_not_estimated() -> None:
    for model in ({"engine": "fake"}, {"size": "/tmp"}):
        assert resolve(Config(model=model), machine(memory_gb=0.1)).memory.used_mb == 0


def test_the_object_store_takes_no_more_than_the_shared_memory_has() -> None:
    assert resolve(Config(), machine(shared_gb=0.3)).memory.store_mb == 300


def test_an_object_store_that_cannot_fit_is_refused_with_what_to_change() -> None:
    config = Config(server={"object_store_mb": 2000})
    with pytest.raises(
        ConfigError,
        match=r"object_store_mb is 2000, but /dev/shm of this machine has room for 64 MB.*--shm-size",
    ):
        resolve(config, machine(shared_gb=0.064))


def test_this_machine_knows_its_memory() -> None:
    assert 100 < this_machine().memory_mb < 1e8
