"""An ASGI middleware for Ray Serve's HTTP proxy: an answer where an ingress replica died and left a request without one."""

import asyncio
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Imported when it is first needed: the API would take 33 MB and half a second of every proxy's start.
STAND_IN = "whisper_serve.api.stand_in:stand_in"


@cache
def load_stand_in() -> ASGIApp:
    module, _, name = STAND_IN.partition(":")
    return cast(ASGIApp, getattr(import_module(module), name))


class AnswerUnanswered:
    """Has another app answer the HTTP requests that `app` leaves without an answer, where their caller still waits.

    Ray Serve's proxy does so when the replica that has the request dies; uvicorn would answer 500 in plain text.
    load: of that app, once for each such request, in a thread; it finds `began` in the request's state.
    """

    def __init__(self, app: ASGIApp, load: Callable[[], ASGIApp]) -> None:
        self.app = app
        self.load = load

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, settled = time.perf_counter(), False  # settled: an answer has begun, or the caller left

        async def receiving() -> Message:
            nonlocal settled
            message = await receive()
            settled = settled or message["type"] == "http.disconnect"
            return message

        async def sending(message: Message) -> None:
            nonlocal settled
            settled = True
            await send(message)

        await self.app(scope, receiving, sending)
        if not settled:
            stand_in = await asyncio.to_thread(self.load)
            await stand_in({**scope, "state": {"began": began}}, receive, send)
