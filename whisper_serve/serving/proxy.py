"""Brings the bounds on requests into the processes of Ray Serve's HTTP proxies, on every node and after each restart."""

import json
import os
from dataclasses import asdict

from whisper_serve.config.server import Server
from whisper_serve.serving.http_protocol import HttpBounds, http_bounds, use_bounded_protocol

BOUNDS = "WHISPER_SERVE_HTTP_BOUNDS"


def bounds_for_proxies(server: Server) -> dict[str, str]:
    """A variable for the environment of the processes below, which know no config."""
    return {BOUNDS: json.dumps(asdict(http_bounds(server)))}


def bounds_here() -> HttpBounds:
    """Without that variable the defaults."""
    given = os.environ.get(BOUNDS)
    return HttpBounds(**json.loads(given)) if given else http_bounds(Server())


def bound_proxy() -> list[object]:
    """For RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH: each proxy calls it before it listens. Returns no middleware."""
    use_bounded_protocol(bounds_here())
    return []
