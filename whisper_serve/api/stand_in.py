"""What a proxy answers in the place of an ingress that died, in the dialect of the path that was requested."""

import json
import time

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from whisper_serve.api import DIALECTS
from whisper_serve.api.dialect import Dialect, Problem
from whisper_serve.api.errors import STATUS, answer, as_body
from whisper_serve.api.middleware.access_log import SECURITY_HEADERS

RETRY_AFTER_S = 1  # until then another ingress takes the request, or it waits for the new one
DIED = Problem(
    STATUS["unavailable"],
    "the process that had this request ended before it answered; try again",
    headers={"retry-after": str(RETRY_AFTER_S)} | SECURITY_HEADERS,
)


async def stand_in(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app, for Ray Serve's proxy. It knows the dialects, and needs no service."""
    response = answer(without_service(scope), DIED)
    if id := Headers(scope=scope).get("x-request-id"):  # the caller's, or one that the proxy made
        response.headers["x-request-id"] = id
    await response(scope, receive, send)


def fixed_bodies() -> dict[str, str]:
    """For a proxy that runs no code of ours: the body, as JSON, by how a path begins. The longest beginning counts."""
    paths = dict.fromkeys(["/", *(path for dialect in DIALECTS for path in beginnings(dialect))])
    scope = {"type": "http", "headers": [], "state": {"began": time.perf_counter()}}
    return {path: json.dumps(as_body(without_service(scope | {"path": path}), DIED)) for path in paths}


def beginnings(dialect: Dialect) -> list[str]:
    """Of the paths that a dialect owns: its prefix or, without one, its endpoints."""
    prefix = dialect.router.prefix
    return [f"{prefix}/"] if prefix else [route.path.partition("{")[0] for route in dialect.routes]


def without_service(scope: Scope) -> Request:
    app = Starlette()
    app.state.dialects = DIALECTS
    return Request({**scope, "app": app})
