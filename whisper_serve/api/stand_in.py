"""Answers in Ray Serve's proxy, in the place of an ingress that died, in the dialect of the path that was requested."""

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from whisper_serve.api import DIALECTS
from whisper_serve.api.dialect import Problem
from whisper_serve.api.errors import STATUS, answer
from whisper_serve.api.middleware.access_log import SECURITY_HEADERS

RETRY_AFTER_S = 1  # until then another ingress takes the request, or it waits for the new one
DIED = Problem(
    STATUS["unavailable"],
    "the process that had this request ended before it answered; try again",
    headers={"retry-after": str(RETRY_AFTER_S)},
)


async def stand_in(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app. It knows the dialects, and needs no service."""
    app = Starlette()
    app.state.dialects = DIALECTS
    response = answer(Request({**scope, "app": app}), DIED)
    response.headers.update(SECURITY_HEADERS | proxy_headers(scope))
    await response(scope, receive, send)


def proxy_headers(scope: Scope) -> dict[str, str]:
    """The id of the request, which Ray Serve's proxy has put among its headers."""
    id = Headers(scope=scope).get("x-request-id")
    return {} if id is None else {"x-request-id": id}
