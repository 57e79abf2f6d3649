"""Estimates what memory a config takes on one machine, and refuses what cannot fit there."""

from dataclasses import dataclass

from whisper_serve.config.defaults import Device
from whisper_serve.config.load import Sections
from whisper_serve.errors import ConfigError
from whisper_serve.host.hardware import Machine

# Millions of parameters, from OpenAI's model card. Models of other sources are not estimated.
PARAMETERS_M = {"tiny": 39, "base": 74, "small": 244, "medium": 769, "large-v3-turbo": 809, "turbo": 809}
PARAMETERS_M |= dict.fromkeys(("large", "large-v1", "large-v2", "large-v3"), 1550)
# Megabytes of a CPU replica: with its model just loaded (docs/performance.md), and after long use (docs/operations.md), measured
# with base and OpenVINO; the others are computed from their parameters.
LOADED_MB, LOADED_BYTES = 430, 1
USED_MB, USED_BYTES = 680, 5
REST_MB = 2300  # the ingress, its decoders, Ray and its proxy, after a long run
WINDOW_MB = 1.92  # 30 s of 16 kHz in 32-bit floats
MIN_STORE_MB = 256.0


@dataclass(frozen=True, slots=True)
class Memory:
    """In megabytes (1e6 bytes)."""

    used_mb: float  # after long use, by all processes of the service; 0: not known
    store_mb: float  # of shared memory, at most

    def __str__(self) -> str:
        store = f"up to {self.store_mb:.0f} MB of shared memory for audio on its way to the replicas"
        return f"about {self.used_mb / 1000:.1f} GB, and {store}" if self.used_mb else store


def memory(config: Sections, ongoing_windows: int, device: Device, machine: Machine) -> Memory:
    """Raises ConfigError where the replicas, or the object store that is asked for, cannot fit into the machine."""
    replicas = config.deployment.fewest or 1
    known = device == "cpu" and config.model.engine != "fake"
    parameters = PARAMETERS_M.get(config.model.size.removesuffix(".en"), 0) if known else 0
    needed = replicas * (LOADED_MB + LOADED_BYTES * parameters)
    if parameters and needed > machine.memory_mb:
        raise ConfigError(
            f"{replicas} replicas of {config.model.size} take more than {needed / 1000:.1f} GB of memory, and "
            f"{machine.name} has {machine.memory_mb / 1000:.1f} GB: lower deployment.num_replicas, or choose a smaller "
            "model.size"
        )
    return Memory(
        used_mb=REST_MB + replicas * (USED_MB + USED_BYTES * parameters) if parameters else 0.0,
        store_mb=store_mb(config, ongoing_windows, machine),
    )


def store_mb(config: Sections, ongoing_windows: int, machine: Machine) -> float:
    """Ray's object store: as asked for, or twice what all replicas may have outstanding."""
    asked = config.server.object_store_mb
    if asked is None:
        outstanding = config.deployment.most * ongoing_windows * WINDOW_MB
        return max(MIN_STORE_MB, min(2 * outstanding, machine.shared_memory_mb))
    if asked > machine.shared_memory_mb:
        raise ConfigError(
            f"server.object_store_mb is {asked:g}, but /dev/shm of {machine.name} has room for "
            f"{machine.shared_memory_mb:.0f} MB: a container gets more with --shm-size"
        )
    return asked
