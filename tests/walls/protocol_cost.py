"""CPU time that the bounds add to a request, over uvicorn's own protocol; the two by turns in one run.

python -m tests.walls.protocol_cost
"""

import asyncio
import statistics
import time
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from whisper_serve.config.server import Server
from whisper_serve.serving.http_protocol import BoundedHttpProtocol, http_bounds

ROUNDS, REQUESTS = 40, 500
HEADERS = {
    "host": "localhost:8000",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
    "user-agent": "OpenAI/Python 1.99.0",
    "authorization": "Bearer 0123456789012345678901234567890123456789",
    "x-stainless-lang": "python",
    "x-stainless-retry-count": "0",
    "content-type": "multipart/form-data; boundary=0123456789abcdef",
}
PIECE, PIECES = b"a" * 65_536, 4  # 8 s of sound
HEAD = b"POST /v1/audio/transcriptions HTTP/1.1\r\n" + b"".join(
    f"{name}: {value}\r\n".encode() for name, value in HEADERS.items()
)
HEAD += b"content-length: %d\r\n\r\n" % (len(PIECE) * PIECES)


class Transport:
    """Takes what is written, and is never full."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def get_extra_info(self, _name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


async def app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def cpu_ms(protocol: Any) -> float:
    """Of one request, on a connection that is kept alive."""
    config = uvicorn.Config(app, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    connection = protocol(config=config, server_state=state, app_state={})
    connection.connection_made(Transport())
    began = time.process_time()
    for _ in range(REQUESTS):
        connection.data_received(HEAD)
        for _ in range(PIECES):
            connection.data_received(PIECE)
            await asyncio.sleep(0)
        if state.tasks:
            await asyncio.wait(state.tasks)
    spent = time.process_time() - began
    connection.connection_lost(None)
    return spent / REQUESTS * 1000


async def main() -> None:
    protocols = {
        "uvicorn's": HttpToolsProtocol,
        "bounded": partial(BoundedHttpProtocol, bounds=http_bounds(Server())),
    }
    spent: dict[str, list[float]] = {name: [] for name in protocols}
    for _ in range(ROUNDS):
        for name, protocol in protocols.items():
            spent[name].append(await cpu_ms(protocol))
    for name, values in spent.items():
        print(f"{name}: {statistics.median(values):.4f} CPU ms a request (median of {ROUNDS})")
    plain, bounded = spent.values()
    print(
        f"the bounds add {statistics.median(b - a for a, b in zip(plain, bounded, strict=True)):.4f} CPU ms"
    )


if __name__ == "__main__":
    asyncio.run(main())
