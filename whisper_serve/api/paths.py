"""Paths of requests: what is routed by them, below a prefix and without a trailing slash."""

from starlette.types import ASGIApp, Receive, Scope, Send


def route_path(scope: Scope) -> str:
    """The path below the prefix (ASGI's root_path) at which the service is mounted."""
    path, prefix = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path


class TrailingSlashes:
    """Serve /path/ as /path. A redirect has no body, and clients do not send theirs again.

    raw_path keeps what was requested. To be passed before anything decides by the path.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and route_path(scope).strip("/"):
            scope["path"] = scope["path"].rstrip("/")
        await self.app(scope, receive, send)
