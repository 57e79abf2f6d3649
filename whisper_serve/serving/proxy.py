"""What this service adds to Ray Serve's HTTP proxies, on every node and after each restart: bounds, and 503 for a dead ingress."""

import json
import os
from dataclasses import asdict

from starlette.middleware import Middleware

from whisper_serve.config.server import Server
from whisper_serve.serving.http_protocol import HttpBounds, http_bounds, use_bounded_protocol
from whisper_serve.serving.unanswered import AnswerUnanswered, load_stand_in

BOUNDS = "WHISPER_SERVE_HTTP_BOUNDS"


def bounds_for_proxies(server: Server) -> dict[str, str]:
    """A variable for the environment of the processes below, which know no config."""
    return {BOUNDS: json.dumps(asdict(http_bounds(server)))}


def bounds_here() -> HttpBounds:
    """Without that variable the defaults."""
    given = os.environ.get(BOUNDS)
    return HttpBounds(**json.loads(given)) if given else http_bounds(Server())


def bound_proxy() -> list[Middleware]:
    """For RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH: each proxy calls it before it listens; with HAProxy each ingress."""
    use_bounded_protocol(bounds_here())
    return [Middleware(AnswerUnanswered, load_stand_in)]
