"""Decides what a config leaves open, for one machine or cluster, or says why it cannot be run there."""

import math
from dataclasses import dataclass
from pathlib import Path

from whisper_serve.config.defaults import DEVICE_DEFAULTS, MIN_DECODES, Device
from whisper_serve.config.load import Config, Sections
from whisper_serve.config.memory import Memory, memory
from whisper_serve.engines import EngineSettings
from whisper_serve.errors import ConfigError
from whisper_serve.host.hardware import Machine
from whisper_serve.weights.download import Report, fetch

MAX_OVERCOMMIT = 2.0  # CPUs promised for each that is there: the smallest machine runs the shipped config


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers that a config may leave open, decided."""

    num_cpus: int  # given to Ray on this machine
    max_decodes: int  # recordings an ingress decodes at once
    max_parallel_windows: int  # of one request, with the replicas at once
    max_ongoing_windows: int  # of all requests, with one replica at once
    max_queued_audio_s: float  # waiting for a replica, over all requests
    max_batch_audio_s: float  # in one batch
    target_audio_s: float  # outstanding at a replica, beyond which another is added
    replica_threads: int  # of a CPU, for a model replica
    replica_gpus: float  # share of a GPU reserved for a model replica; 0 on CPUs


class Resolved(Sections):
    """A config that can be run: its paths are absolute, and what it left open is decided beside its sections."""

    device: Device
    engine: str  # a row of ENGINES; on a CPU also "auto": each replica takes the fastest for its own CPU
    limits: Limits
    memory: Memory


def resolve(config: Config, machine: Machine) -> Resolved:
    """Raises ConfigError where the config asks for what `machine` does not have."""
    server, deployment = config.server, config.deployment
    device: Device = (
        config.model.device if config.model.device != "auto" else "cuda" if machine.gpus else "cpu"
    )
    defaults, scaling = DEVICE_DEFAULTS[device], deployment.autoscaling
    limits = Limits(
        num_cpus=server.num_cpus or max(int(machine.cpus), math.ceil(cpus_needed(config))),
        max_decodes=server.max_decodes or max(MIN_DECODES, int(machine.cpus) // 2),
        max_parallel_windows=server.max_parallel_windows or defaults.parallel_windows * deployment.most,
        max_ongoing_windows=defaults.ongoing_windows,
        max_queued_audio_s=server.max_queued_audio_s or defaults.queued_audio_s * deployment.most,
        max_batch_audio_s=deployment.max_batch_audio_s or defaults.batch_audio_s,
        target_audio_s=(scaling and scaling.target_audio_s) or defaults.target_audio_s,
        replica_threads=max(1, int(deployment.cpu_per_replica)),
        replica_gpus=deployment.gpu_per_replica if device == "cuda" else 0.0,
    )
    engine = config.model.engine
    if engine == "auto" and device == "cuda":
        engine = "openai_whisper"
    sections = dict(with_absolute_paths(config))
    taken = memory(config, limits.max_ongoing_windows, device, machine)
    resolved = Resolved(**sections, device=device, engine=engine, limits=limits, memory=taken)
    check(resolved, machine)
    return resolved


def with_absolute_paths(config: Config) -> Config:
    """Replicas do not run in this folder."""
    model = config.model.model_copy(update={"model_dir": config.model.model_dir.resolve()})
    letters = config.server.dead_letter_dir
    server = config.server.model_copy(update={"dead_letter_dir": letters and letters.resolve()})
    files = config.logging.model_dump(include={"file", "access_file", "audit_file", "error_file"})
    logging = config.logging.model_copy(
        update={name: path and str(Path(path).resolve()) for name, path in files.items()}
    )
    return config.model_copy(update={"model": model, "server": server, "logging": logging})


def cpus_needed(config: Sections) -> float:
    ingress = config.server.num_ingress * (1 if config.server.dedicated_cpu else 0)
    return ingress + config.deployment.most * config.deployment.cpu_per_replica


def check(config: Resolved, machine: Machine) -> None:
    deployment = config.deployment
    num_cpus, gpus = config.limits.num_cpus, deployment.fewest * config.limits.replica_gpus
    if config.device == "cuda" and not machine.gpus and deployment.fewest:
        raise ConfigError(f'model.device is "cuda", but {machine.name} shows no GPU; use "auto" or "cpu"')
    if deployment.cpu_per_replica > machine.cpus:
        raise ConfigError(
            f"deployment.cpu_per_replica is {deployment.cpu_per_replica:g}, but {machine.name} has {machine.cpus:g} CPUs"
        )
    if cpus_needed(config) > num_cpus:
        raise ConfigError(
            f"{deployment.most} replicas of {deployment.cpu_per_replica:g} CPUs and the ingress need "
            f"{cpus_needed(config):g} CPUs, but server.num_cpus is {num_cpus}"
        )
    if cpus_needed(config) > MAX_OVERCOMMIT * machine.all_cpus and config.server.num_cpus is None:
        raise ConfigError(
            f"{deployment.most} replicas of {deployment.cpu_per_replica:g} CPUs and the ingress need "
            f"{cpus_needed(config):g} CPUs, but {machine.name} has {machine.all_cpus:g}: lower deployment.num_replicas, "
            "or set server.num_cpus if that is what you want"
        )
    if gpus > machine.gpus:
        raise ConfigError(
            f"{deployment.fewest} replicas of {config.limits.replica_gpus:g} GPUs need {gpus:g}, "
            f"but {machine.name} has {machine.gpus:g}"
        )


def fetch_weights(config: Sections, report: Report | None = None) -> Path | None:
    """Where the model's weights are, downloaded if need be; None for the engine that has none. Raises WeightsError."""
    if config.model.engine == "fake":
        return None
    return fetch(config.model.size, config.model.model_dir, report)


def engine_settings(config: Resolved) -> EngineSettings:
    """What an engine is loaded with, its weights downloaded if need be. Raises WeightsError."""
    return EngineSettings(
        weights=fetch_weights(config),
        device=config.device,
        cpus=config.limits.replica_threads,
        compute_type=config.model.compute_type,
        context=config.model.context,
    )
