"""What every request passes through: an id, a line in the log, and headers for browsers.

Plain ASGI, so that streams and uploads pass without being gathered.
"""

import re
import time
import uuid
from logging import getLogger

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_serve import logger

log = getLogger(logger.NAME)

SAFE = {  # transcripts are no pages: never to be guessed at, framed, or told of
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
GOOD_ID = re.compile(r"[\w.:=+/-]{1,128}", re.ASCII)


class Passage:
    """answers_id: put x-request-id on answers; Ray Serve's proxy does so itself."""

    def __init__(self, app: ASGIApp, answers_id: bool) -> None:
        self.app = app
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
                headers.update(SAFE)
                if self.answers_id:
                    headers["x-request-id"] = id
            await send(message)

        with logger.request(id):
            try:
                await self.app(scope, receive, sending)
            finally:  # status 0: the caller left before an answer
                log.info(
                    "%s %s %d",
                    scope["method"],
                    scope["path"],
                    status,
                    extra={
                        "seconds": round(time.perf_counter() - state["began"], 3),
                        "caller": state.get("caller", ""),
                        **state.get("log", {}),
                    },
                )


def request_id(headers: Headers) -> str:
    """The caller's own id where it is fit for a log, else a new one."""
    given = headers.get("x-request-id", "")
    return given if GOOD_ID.fullmatch(given) else str(uuid.uuid4())
