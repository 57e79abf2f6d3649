"""Puts the parts together: a Config in, a Ray Serve application out.

`serve deploy` and KubeRay name `whisper_serve.app:build` as their import path.
"""

import asyncio
import math
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.config.load import Config, load_config
from whisper_serve.config.resolve import resolve
from whisper_serve.host.hardware import this_machine
from whisper_serve.serving.autoscaling import autoscaling_config
from whisper_serve.serving.client import ModelClient
from whisper_serve.serving.ray_metrics import exporters, start_meters
from whisper_serve.serving.ray_ports import close_replica_port
from whisper_serve.serving.replica import Replica
from whisper_serve.serving.router import LeastAudioRouter
from whisper_serve.telemetry import metrics
from whisper_serve.telemetry.logs import set_up_logging
from whisper_serve.telemetry.metrics import record
from whisper_serve.telemetry.prometheus import scrape
from whisper_serve.telemetry.tracing import set_up_tracing
from whisper_serve.transcription.admission import Admission, Bounds
from whisper_serve.transcription.transcriber import Transcriber

# Windows with a model replica at once: enough to gather batches from, few enough to share out. With one
# at a time, replicas would starve while Ray's routers sleep.
WINDOWS_A_REPLICA = {"cpu": 64, "cuda": 512}
REQUESTS_AN_INGRESS = 1000
ROUTER = RequestRouterConfig(
    request_router_class=f"{LeastAudioRouter.__module__}:{LeastAudioRouter.__name__}"  # type: ignore[arg-type]  # Ray's hint is wrong
)


class Ingress:
    """HTTP in front: it decodes, cuts, asks the model deployment and collects."""

    def __init__(self, config: Config, model: "DeploymentHandle[Replica]") -> None:
        close_replica_port()
        set_up_logging(config.logging)
        set_up_tracing(config.tracing, "ingress")
        remote = ModelClient(model, config.deployment.max_retries)
        transcriber = Transcriber(config, remote.infer, Admission(bounds(config)))
        transcriber.warm_up()
        rests = config.deployment.fewest == 0  # a question would wake a replica
        ready = takes_requests if rests else remote.ready
        self.service = Service(config, transcriber, ready, figures if config.server.metrics else None)
        if config.server.metrics:
            start_meters(self._sample)

    def _sample(self) -> None:
        admission = self.service.transcriber.admission
        record(metrics.QUEUED_AUDIO, admission.queued_s)
        record(metrics.BUFFERED_AUDIO, admission.buffered_s)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_api(self.service, behind_proxy=True)


async def figures() -> str:
    return await scrape(await asyncio.to_thread(exporters))


async def takes_requests() -> bool:
    return True


def bounds(config: Config) -> Bounds:
    """An ingress's own part of what the service takes: requests are dealt evenly, and none asks the others."""
    server = config.server
    assert server.max_queued_audio_s is not None  # a resolved config
    quotas = {key.name: key.audio_s_per_day for key in config.security.keys if key.audio_s_per_day}
    return Bounds(
        queued_s=server.max_queued_audio_s / server.num_ingress,
        buffered_s=server.max_inflight_audio_s / server.num_ingress,
        upload_bytes=server.max_inflight_upload_mb * 1e6 / server.num_ingress,
        quotas_s={name: quota / server.num_ingress for name, quota in quotas.items()},
    )


def build_app(config: Config) -> Application:
    """The two deployments of a resolved config, bound: Ingress in front of Model."""
    deployment, server = config.deployment, config.server
    model = serve.deployment(
        name="Model",
        **replica_count(config),
        **per_node(deployment.max_replicas_per_node),
        max_ongoing_requests=WINDOWS_A_REPLICA["cuda" if config.model.device == "cuda" else "cpu"],
        ray_actor_options=model_actor(config),
        request_router_config=ROUTER,
        graceful_shutdown_timeout_s=server.drain_timeout_s,
        health_check_period_s=deployment.health_check_period_s,
        health_check_timeout_s=deployment.health_check_timeout_s,
    )(Replica)
    ingress = serve.deployment(
        name="Ingress",
        num_replicas=server.num_ingress,
        **per_node(server.max_ingress_per_node),
        max_ongoing_requests=REQUESTS_AN_INGRESS,
        ray_actor_options={"num_cpus": 1 if server.dedicated_cpu else 0},
        graceful_shutdown_timeout_s=server.drain_timeout_s,
        health_check_period_s=deployment.health_check_period_s,
        health_check_timeout_s=deployment.health_check_timeout_s,
    )(serve.ingress()(Ingress))
    return ingress.bind(config, model.bind(config))


def replica_count(config: Config) -> dict[str, Any]:
    scaling = config.deployment.autoscaling
    if scaling is None:
        return {"num_replicas": config.deployment.num_replicas}
    return {"autoscaling_config": autoscaling_config(scaling)}


def per_node(most: int | None) -> dict[str, Any]:
    return {} if most is None else {"max_replicas_per_node": most}


def model_actor(config: Config) -> dict[str, Any]:
    """What Ray reserves for a model replica, and the environment it starts in."""
    deployment = config.deployment
    options: dict[str, Any] = {"num_cpus": deployment.cpu_per_replica, "num_gpus": deployment.gpu_per_replica}
    if deployment.cpu_per_replica >= 2:  # several workers, whose malloc arenas would keep what they once held
        options["runtime_env"] = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
    return options


def build(args: dict[str, Any]) -> Application:
    """The same from a config file's path, for `serve deploy`: args {"config": "config.json"}.

    It runs on a cluster's head; GPUs that its config names are on other nodes, or will be.
    """
    config, machine = load_config(args.get("config", "config.json")), this_machine()
    if config.model.device == "cuda":
        machine = replace(machine, gpus=math.inf)
    return build_app(resolve(config, machine))
