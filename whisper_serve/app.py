"""Puts the parts together: a Config in, a Ray Serve application out.

`serve deploy` and KubeRay name `whisper_serve.app:build` as their import path.
"""

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from whisper_serve.admission import Admission, Bounds
from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.config import Config, load_config
from whisper_serve.fit import fit
from whisper_serve.logger import set_up_logging
from whisper_serve.loopback import close_replica_port
from whisper_serve.machine import this_machine
from whisper_serve.replica import Remote, Replica
from whisper_serve.transcriber import Transcriber

# Windows with a model replica at once: enough to gather batches from, few enough to share out. With one
# at a time, replicas would starve while Ray's routers sleep.
WINDOWS_A_REPLICA = {"cpu": 64, "cuda": 512}
REQUESTS_AN_INGRESS = 1000


class Ingress:
    """HTTP in front: it decodes, cuts, asks the model deployment and collects."""

    def __init__(self, config: Config, model: "DeploymentHandle[Replica]") -> None:
        close_replica_port()
        set_up_logging(config.logging)
        remote = Remote(model, config.deployment.max_retries)
        transcriber = Transcriber(config, remote.infer, Admission(bounds(config)))
        transcriber.warm_up()
        self.service = Service(config, transcriber, remote.ready)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_api(self.service, behind_proxy=True)


def bounds(config: Config) -> Bounds:
    """An ingress's own part of what the service takes: requests are dealt evenly, and none asks the others."""
    server = config.server
    assert server.max_queued_audio_s is not None  # a fitted config
    quotas = {key.name: key.audio_s_per_day for key in config.security.keys if key.audio_s_per_day}
    return Bounds(
        queued_s=server.max_queued_audio_s / server.num_ingress,
        held_s=server.max_inflight_audio_s / server.num_ingress,
        upload_bytes=server.max_inflight_upload_mb * 1e6 / server.num_ingress,
        quotas_s={name: quota / server.num_ingress for name, quota in quotas.items()},
    )


def build_app(config: Config) -> Application:
    """The two deployments of a fitted config, bound: Ingress in front of Model."""
    deployment, server = config.deployment, config.server
    model = serve.deployment(
        name="Model",
        num_replicas=deployment.num_replicas,
        max_ongoing_requests=WINDOWS_A_REPLICA["cuda" if config.model.device == "cuda" else "cpu"],
        ray_actor_options=model_actor(config),
        graceful_shutdown_timeout_s=server.drain_timeout_s,
        health_check_period_s=deployment.health_check_period_s,
        health_check_timeout_s=deployment.health_check_timeout_s,
    )(Replica)
    ingress = serve.deployment(
        name="Ingress",
        num_replicas=server.num_ingress,
        max_ongoing_requests=REQUESTS_AN_INGRESS,
        ray_actor_options={"num_cpus": 1 if server.dedicated_cpu else 0},
        graceful_shutdown_timeout_s=server.drain_timeout_s,
        health_check_period_s=deployment.health_check_period_s,
        health_check_timeout_s=deployment.health_check_timeout_s,
    )(serve.ingress()(Ingress))
    return ingress.bind(config, model.bind(config))


def model_actor(config: Config) -> dict[str, Any]:
    """What Ray reserves for a model replica, and the environment it starts in."""
    deployment = config.deployment
    options: dict[str, Any] = {"num_cpus": deployment.cpu_per_replica, "num_gpus": deployment.gpu_per_replica}
    if deployment.cpu_per_replica >= 2:  # several workers, whose malloc arenas would keep what they once held
        options["runtime_env"] = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
    return options


def build(args: dict[str, Any]) -> Application:
    """The same from a config file's path, for `serve deploy`: args {"config": "config.json"}."""
    return build_app(fit(load_config(args.get("config", "config.json")), this_machine()))
