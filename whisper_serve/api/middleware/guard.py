"""The guard of the API: names every caller, and refuses what has no key or is too large, and forms in odd charsets, unread.

Plain ASGI, so that streams and uploads pass without being gathered.
"""

from contextlib import ExitStack
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_serve.api.deps import Traffic
from whisper_serve.api.errors import answer, as_problem
from whisper_serve.api.form_limits import check_content_type
from whisper_serve.api.middleware.api_keys import ApiKeys
from whisper_serve.api.paths import route_path
from whisper_serve.errors import Overloaded, TranscriptionError
from whisper_serve.transcription.admission import Admission, Upload

POLICY_VIOLATION = 1008  # a close code of WebSockets


class Guard:
    """api_keys: None where no key is needed. keyless: paths of watchers, which never need one and are
    answered while the service stops. max_body_bytes: of one request.

    Behind a trusted proxy the client's address is set before, by uvicorn's ProxyHeadersMiddleware.
    """

    def __init__(
        self,
        app: ASGIApp,
        api_keys: ApiKeys | None,
        keyless: frozenset[str],
        traffic: Traffic,
        admission: Admission,
        max_body_bytes: int,
    ) -> None:
        self.app = app
        self.api_keys = api_keys
        self.keyless = keyless
        self.traffic = traffic
        self.admission = admission
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        with ExitStack() as stack:
            upload = stack.enter_context(self.admission.upload())
            try:
                await self._check_caller(scope)
                if route_path(scope) not in self.keyless:
                    stack.enter_context(self.traffic.request())
                if scope.get("method") == "POST":
                    check_content_type(Headers(scope=scope))
                upload.grow_to(min(declared(scope), self.max_body_bytes))
            except TranscriptionError as e:
                await refuse(e, scope, receive, send)
                return
            await self.app(scope, self._counted(receive, upload), send)

    async def _check_caller(self, scope: Scope) -> None:
        """Name the caller, and refuse what it may not ask for: by its quota first, which leaves its rate as it is."""
        keys = self.api_keys if route_path(scope) not in self.keyless else None
        key = keys.find(Headers(scope=scope)) if keys else None
        client = scope.get("client")
        caller = key.name if key else network_of(client[0] if client else "")
        scope["state"]["caller"] = caller
        posted = scope.get("method") == "POST"
        if posted:
            await self.admission.check_quota(caller)
        if keys and key:
            await keys.take(key)
        if posted:
            self.admission.check(caller)

    def _counted(self, receive: Receive, upload: Upload) -> Receive:
        """Count bytes as they come: a Content-Length may be missing, or lie."""
        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.max_body_bytes:
                limit = f"{self.max_body_bytes / 1e6:g} MB"
                raise HTTPException(413, f"the upload is larger than {limit}, the limit")
            try:
                upload.grow_to(read)
            except Overloaded as e:  # FastAPI would take another kind of error for a broken form
                raise HTTPException(429, str(e), {"retry-after": str(e.retry_after_s)}) from e
            return message

        return receiving


async def refuse(error: TranscriptionError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": str(error)[:120]})
        return
    await answer(Request(scope), as_problem(error))(scope, receive, send)


def declared(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isdecimal() else 0


def network_of(address: str) -> str:
    """An IPv6 caller is known by its /64, since it can take any address in that."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
