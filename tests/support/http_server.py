"""An ASGI application on a port of its own, without Ray: for tests that need a real HTTP server or browser."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The URL at which it answers, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=5)
        )
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def below(prefix: str, app: Any, strips: bool) -> Any:
    """As behind a proxy that serves the application below a prefix, which it strips or names as root_path."""

    async def proxied(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"].startswith(f"{prefix}/"), scope["path"]
        if strips:
            path = scope["path"].removeprefix(prefix)
            scope = scope | {"path": path, "raw_path": path.encode()}
        else:
            scope = scope | {"root_path": prefix}
        await app(scope, receive, send)

    return proxied
