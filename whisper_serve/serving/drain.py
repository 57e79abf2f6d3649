"""Drains the ingress before a stop, so that it turns new requests away and answers those that run, and then the proxy.

Serve's own drain takes all deployments of an application down together, so that an ingress would lose the models
that its running requests still need.
"""

import time
from contextlib import suppress
from dataclasses import dataclass

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve._private.common import ReplicaState
from ray.serve.exceptions import DeploymentUnavailableError

INGRESS = "Ingress"
ASK_TIMEOUT_S = 5.0  # for what all ingress replicas answer at once
SEND_TIMEOUT_S = 10.0  # for what proxies still send when the ingress has answered
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class DrainSettings:
    delay_s: float  # how long new requests are still accepted, though /readyz says 503
    timeout_s: float  # how long running requests are waited for


def drain(app: str, settings: DrainSettings) -> int:
    """Return how many requests still run when the time is up: 0 if all are answered."""
    running_requests(app, accepting=True)
    time.sleep(settings.delay_s)
    until = time.monotonic() + settings.timeout_s
    while (running := running_requests(app, accepting=False)) and time.monotonic() < until:
        time.sleep(POLL_S)
    return running


def running_requests(app: str, accepting: bool) -> int:
    """Have every ingress replica drain; return how many requests run in all of them.

    One that does not answer, or that Serve replaces just now, counts as one request.
    """
    ingress = serve.status().applications[app].deployments[INGRESS]
    replaced = ingress.replica_states.get(ReplicaState.STOPPING, 0)
    try:
        response = serve.get_deployment_handle(INGRESS, app).broadcast("drain", accepting)
        counts = response.results(timeout_s=ASK_TIMEOUT_S, return_exceptions=True)
    except DeploymentUnavailableError:
        return replaced
    except TimeoutError:
        return replaced + 1
    return replaced + sum(count for count in counts if isinstance(count, int))


def drain_proxies() -> None:
    """Wait until the proxies of a Ray of our own have sent all answers, which slow clients may take long to receive."""
    controller = serve.context._get_global_client()._controller  # type: ignore[union-attr]
    until = time.monotonic() + SEND_TIMEOUT_S
    with suppress(RayError):  # one that died sends nothing more
        proxies = ray.get(controller.get_proxies.remote()).values()
        ray.get([proxy.update_draining.remote(True) for proxy in proxies])
        while time.monotonic() < until and not all(ray.get([proxy.is_drained.remote() for proxy in proxies])):
            time.sleep(POLL_S)
