"""Wires the parts into a Ray Serve application.

`serve deploy` and KubeRay name `whisper_serve.app:build` as their import path.
"""

import asyncio
import math
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve._private.constants import REPLICA_HEALTH_CHECK_UNHEALTHY_THRESHOLD
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.audio.decode_workers import DecodeWorkers
from whisper_serve.config.load import load_config
from whisper_serve.config.resolve import Resolved, resolve
from whisper_serve.host.hardware import this_machine
from whisper_serve.serving.autoscaling import autoscaling_config
from whisper_serve.serving.client import ModelClient
from whisper_serve.serving.http_protocol import http_bounds, use_bounded_protocol
from whisper_serve.serving.ray_metrics import export_metrics, exporters
from whisper_serve.serving.ray_ports import close_replica_port
from whisper_serve.serving.replica import Replica
from whisper_serve.serving.router import LeastAudioRouter
from whisper_serve.serving.shared_usage import SharedUsage, usage_actor
from whisper_serve.telemetry import metrics
from whisper_serve.telemetry.logs import set_up_logging
from whisper_serve.telemetry.metrics import record
from whisper_serve.telemetry.prometheus import scrape
from whisper_serve.telemetry.tracing import set_up_tracing
from whisper_serve.transcription.admission import Admission, Bounds
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.transcription.usage import OwnUsage

REQUESTS_PER_INGRESS = 1000
ROUTER = RequestRouterConfig(
    request_router_class=f"{LeastAudioRouter.__module__}:{LeastAudioRouter.__name__}"  # type: ignore[arg-type]  # Ray's hint is wrong
)


class Ingress:
    """The HTTP service, which has the model deployment transcribe what it decodes and splits into windows."""

    def __init__(self, config: Resolved, model: "DeploymentHandle[Replica]") -> None:
        close_replica_port()
        use_bounded_protocol(http_bounds(config.server))  # behind HAProxy callers reach this process
        set_up_logging(config.logging)
        set_up_tracing(config.tracing, "ingress")
        remote = ModelClient(model, config.deployment)
        workers = DecodeWorkers(
            config.limits.max_decodes + config.server.max_long_decodes, config.decoding, count_lost_decoder
        )
        workers.start(config.limits.max_decodes)
        usage = SharedUsage(1 / config.server.num_ingress) if shares_usage(config) else OwnUsage()
        admission = Admission(bounds(config), usage=usage)
        transcriber = Transcriber(config, remote.infer, admission, workers.decode)
        transcriber.warm_up()
        may_be_idle = config.deployment.fewest == 0  # a check would start a replica
        ready = takes_requests if may_be_idle else remote.ready
        self.service = Service(config, transcriber, ready, cluster_metrics if config.server.metrics else None)
        if config.server.metrics:
            export_metrics(self._sample)

    def _sample(self) -> None:
        admission = self.service.transcriber.admission
        record(metrics.QUEUED_AUDIO, admission.queued_s)
        record(metrics.BUFFERED_AUDIO, admission.buffered_s)

    async def drain(self, accepting: bool) -> int:
        """Say 503 at /readyz, and to new requests unless they are still accepted; return how many requests run."""
        traffic = self.service.traffic
        traffic.draining, traffic.accepting = True, accepting
        return traffic.running

    async def check_health(self) -> None:
        """Serve calls it on the loop of the requests: where that is blocked it does not return, and the ingress is replaced."""

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_api(self.service, behind_proxy=True)


async def cluster_metrics() -> str:
    return await scrape(await asyncio.to_thread(exporters))


async def takes_requests() -> bool:
    return True


def count_lost_decoder(reason: str) -> None:
    record(metrics.DECODERS_LOST, reason=reason)


def bounds(config: Resolved) -> Bounds:
    """An ingress's share of what the service accepts, since requests are spread evenly, and the quotas of all."""
    server = config.server
    quotas = {key.name: key.audio_s_per_day for key in config.security.keys if key.audio_s_per_day}
    return Bounds(
        queued_s=config.limits.max_queued_audio_s / server.num_ingress,
        buffered_s=server.max_inflight_audio_s / server.num_ingress,
        upload_bytes=server.max_inflight_upload_mb * 1e6 / server.num_ingress,
        quotas_s=quotas,
    )


def shares_usage(config: Resolved) -> bool:
    """Whether what keys have used of their limits is counted for several ingresses together."""
    limited = (key.requests_per_minute or key.audio_s_per_day for key in config.security.keys)
    return config.server.num_ingress > 1 and any(limited)


def build_app(config: Resolved) -> Application:
    """The two deployments, bound: Ingress in front of Model."""
    deployment, server = config.deployment, config.server
    model = serve.deployment(
        name="Model",
        **replica_count(config),
        **per_node(deployment.max_replicas_per_node),
        max_ongoing_requests=config.limits.max_ongoing_windows,
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
        max_ongoing_requests=REQUESTS_PER_INGRESS,
        ray_actor_options={"num_cpus": 1 if server.dedicated_cpu else 0},
        deployment_actors=[usage_actor()] if shares_usage(config) else [],
        graceful_shutdown_timeout_s=server.drain_timeout_s,
        health_check_period_s=deployment.health_check_period_s,
        # Serve replaces a replica after so many checks without an answer
        health_check_timeout_s=deployment.health_check_timeout_s / REPLICA_HEALTH_CHECK_UNHEALTHY_THRESHOLD,
    )(serve.ingress()(Ingress))
    return ingress.bind(config, model.bind(config))


def replica_count(config: Resolved) -> dict[str, Any]:
    scaling = config.deployment.autoscaling
    if scaling is None:
        return {"num_replicas": config.deployment.num_replicas}
    return {"autoscaling_config": autoscaling_config(scaling, config.limits.target_audio_s)}


def per_node(most: int | None) -> dict[str, Any]:
    return {} if most is None else {"max_replicas_per_node": most}


def model_actor(config: Resolved) -> dict[str, Any]:
    """What Ray reserves for a model replica, and the environment it starts in."""
    deployment = config.deployment
    options: dict[str, Any] = {"num_cpus": deployment.cpu_per_replica, "num_gpus": config.limits.replica_gpus}
    if config.limits.replica_threads > 1:  # each would keep a malloc arena as large as it ever was
        options["runtime_env"] = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
    return options


def build(args: dict[str, Any]) -> Application:
    """The application of a config file, for `serve deploy`: args {"config": "config.json"}.

    It runs on a cluster's head; memory and GPUs that its config needs are on other nodes, or will be.
    """
    config = load_config(args.get("config", "config.json"))
    machine = replace(this_machine(), all_cpus=math.inf, memory_mb=math.inf, shared_memory_mb=math.inf)
    if config.model.device == "cuda":
        machine = replace(machine, gpus=math.inf)
    return build_app(resolve(config, machine))
