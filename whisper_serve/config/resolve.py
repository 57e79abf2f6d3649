"""A config and a machine in; the config with every `auto` decided, or why it cannot be, out."""

import math
from pathlib import Path
from typing import Any

from whisper_serve.config.load import Config
from whisper_serve.errors import ConfigError
from whisper_serve.host.hardware import Machine

WINDOWS = {"cpu": 6, "cuda": 32}  # of one request, with each replica at once
QUEUED_AUDIO_S = {"cpu": 300.0, "cuda": 4800.0}  # a replica: some ten seconds of work
IN_HAND_AUDIO_S = {"cpu": 60.0, "cuda": 960.0}  # a replica, before another comes: some two seconds of work
BATCH_AUDIO_S = {"cpu": 120.0, "cuda": 480.0}  # more gain little, and share out badly over replicas


def resolve(config: Config, machine: Machine) -> Config:
    """The same config with every `auto` decided for `machine`; ConfigError where it asks for what is not there."""
    device = ("cuda" if machine.gpus else "cpu") if config.model.device == "auto" else config.model.device
    engine = config.model.engine
    if engine == "auto" and device == "cuda":
        engine = "openai_whisper"  # on CPUs each replica takes what its own is best at
    num_cpus = config.server.num_cpus or max(int(machine.cpus), math.ceil(cpus_needed(config)))
    gpus = config.deployment.gpu_per_replica if device == "cuda" else 0.0
    parallel = config.server.max_parallel_windows or WINDOWS[device] * config.deployment.most
    batch = config.deployment.max_batch_audio_s or BATCH_AUDIO_S[device]
    queued = config.server.max_queued_audio_s or QUEUED_AUDIO_S[device] * config.deployment.most
    scaling = config.deployment.autoscaling
    if scaling and scaling.target_audio_s is None:
        scaling = scaling.model_copy(update={"target_audio_s": IN_HAND_AUDIO_S[device]})
    letters = config.server.dead_letter_dir
    server = {
        "num_cpus": num_cpus,
        "max_parallel_windows": parallel,
        "max_queued_audio_s": queued,
        "max_decodes": config.server.max_decodes or max(2, int(machine.cpus) // 2),
        "dead_letter_dir": letters and letters.resolve(),
    }
    logs = config.logging.model_dump(include={"file", "access_file", "error_file"})
    changes: dict[str, dict[str, Any]] = {
        "server": server,
        "model": {
            "device": device,
            "engine": engine,
            "model_dir": config.model.model_dir.resolve(),
        },
        "deployment": {"gpu_per_replica": gpus, "max_batch_audio_s": batch, "autoscaling": scaling},
        "logging": {name: path and str(Path(path).resolve()) for name, path in logs.items()},
    }
    resolved = config.model_copy(
        update={section: getattr(config, section).model_copy(update=new) for section, new in changes.items()}
    )
    check(resolved, machine)
    return resolved


def cpus_needed(config: Config) -> float:
    ingress = config.server.num_ingress * (1 if config.server.dedicated_cpu else 0)
    return ingress + config.deployment.most * config.deployment.cpu_per_replica


def check(config: Config, machine: Machine) -> None:
    deployment, num_cpus = config.deployment, config.server.num_cpus or 0
    if config.model.device == "cuda" and not machine.gpus and deployment.fewest:
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
    if deployment.fewest * deployment.gpu_per_replica > machine.gpus:
        raise ConfigError(
            f"{deployment.fewest} replicas of {deployment.gpu_per_replica:g} GPUs need "
            f"{deployment.fewest * deployment.gpu_per_replica:g}, but {machine.name} has {machine.gpus:g}"
        )
