"""The access log: for every request an id, a log line, a span, counters, and security headers.

Plain ASGI, so that streams and uploads pass without being gathered.
"""

import re
import time
import uuid
from logging import getLogger

from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_serve.api.paths import route_path
from whisper_serve.telemetry import logs, tracing
from whisper_serve.telemetry.metrics import REFUSED, REQUEST_TIME, REQUESTS, record

log = getLogger(logs.ACCESS)

SECURITY_HEADERS = {  # transcripts are no web pages: no sniffing, no frames, no referrer
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
UNAUTHORIZED = 401
REFUSALS = (UNAUTHORIZED, 413, 429)
GOOD_ID = re.compile(r"[\w.:=+/-]{1,128}", re.ASCII)


class AccessLog:
    """endpoints: paths that are labels of metrics. answers_id: put x-request-id on answers; Ray Serve's proxy
    does so itself.
    """

    def __init__(self, app: ASGIApp, endpoints: frozenset[str], answers_id: bool) -> None:
        self.app = app
        self.endpoints = endpoints
        self.answers_id = answers_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state["began"] = time.perf_counter()
        state["request_id"] = id = request_id(Headers(scope=scope))
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                if self.answers_id:
                    headers["x-request-id"] = id
            await send(message)

        with logs.request(id), tracing.span(scope["method"], SpanKind.SERVER, Headers(scope=scope)) as span:
            try:
                await self.app(scope, receive, sending)
            finally:  # status 0: the caller left before an answer
                log_request(scope, self._endpoint(scope), state.get("failed_status", status), span)

    def _endpoint(self, scope: Scope) -> str:
        """The path of the requested route, also where the guard refused it; "other" where there is none."""
        path = route_path(scope)
        return str(scope["route"].path) if "route" in scope else path if path in self.endpoints else "other"


def log_request(scope: Scope, endpoint: str, status: int, span: Span) -> None:
    """Into the log, the counters and the trace. status: of a stream that failed, the one of its error."""
    state = scope["state"]
    seconds = time.perf_counter() - state["began"]
    record(REQUESTS, endpoint=endpoint, status=str(status))
    record(REQUEST_TIME, seconds, endpoint=endpoint)
    if status in REFUSALS:
        record(REFUSED, endpoint=endpoint, status=str(status))
    if status == UNAUTHORIZED:
        client = scope.get("client")
        logs.audit("key refused", address=client[0] if client else "", path=scope["path"])
    span.update_name(f"{scope['method']} {endpoint}")
    span.set_attributes(
        {
            "http.request.method": scope["method"],
            "http.route": endpoint,
            "http.response.status_code": status,
            "request_id": state["request_id"],
        }
    )
    if status >= 500:
        span.set_status(StatusCode.ERROR)
    fields = {"seconds": round(seconds, 3), "caller": state.get("caller", ""), **state.get("log", {})}
    log.info("%s %s %d", scope["method"], scope["path"], status, extra=fields)


def request_id(headers: Headers) -> str:
    """The caller's own id where it can be logged as it is, else a new one."""
    given = headers.get("x-request-id", "")
    return given if GOOD_ID.fullmatch(given) else str(uuid.uuid4())
