"""What every request passes through: an id, a bound on its body, a line in the log.

Plain ASGI, so that streams and uploads pass without being gathered.
"""

import re
import time
import uuid
from logging import getLogger

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_serve import logger

log = getLogger(logger.NAME)

GOOD_ID = re.compile(r"[\w.:=+/-]{1,128}", re.ASCII)


class Passage:
    """answers_id: put x-request-id on answers; Ray Serve's proxy does so itself."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, answers_id: bool) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.answers_id = answers_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["began"] = time.perf_counter()
        state["request_id"] = id = request_id(Headers(scope=scope))
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.answers_id:
                    MutableHeaders(scope=message)["x-request-id"] = id
            await send(message)

        with logger.request(id):
            try:
                await self.app(scope, self._counted(receive), sending)
            finally:  # status 0: the caller left before an answer
                log.info(
                    "%s %s %d",
                    scope["method"],
                    scope["path"],
                    status,
                    extra={"seconds": round(time.perf_counter() - state["began"], 3), **state.get("log", {})},
                )

    def _counted(self, receive: Receive) -> Receive:
        """Count bytes as they come: a Content-Length may be missing, or lie."""
        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.max_body_bytes:
                raise HTTPException(
                    413, f"the upload is larger than {self.max_body_bytes / 1e6:g} MB, the limit"
                )
            return message

        return receiving


def request_id(headers: Headers) -> str:
    """The caller's own id where it is fit for a log, else a new one."""
    given = headers.get("x-request-id", "")
    return given if GOOD_ID.fullmatch(given) else str(uuid.uuid4())
