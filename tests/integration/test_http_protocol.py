"""Bounds on requests, over real connections."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from whisper_serve.config.server import Server
from whisper_serve.serving.http_protocol import BoundedHttpProtocol, HttpBounds, http_bounds

pytestmark = pytest.mark.anyio

BOUNDS = http_bounds(Server())
QUICK = replace(BOUNDS, head_timeout_s=0.1, body_timeout_s=0.1)
PATIENT = replace(BOUNDS, head_timeout_s=60, body_timeout_s=60)
WAIT_S = 10
EARLY = "/early"  # is answered before its body is read
LINE = b"POST /path HTTP/1.1\r\n"


@dataclass
class App:
    """Answers with what it was sent, when it is allowed to."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)  # a client has, before its body had come

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        size, more = 0, scope["path"] != EARLY
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        answer = json.dumps({"bytes": size, "headers": headers}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer[:1], "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": answer[1:]})


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """The status of the next response, and its body where its length is declared or chunked."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_S)
        status = int(head.split(b" ")[1])
        if b"content-length: " in head:
            return status, await self.reader.readexactly(int(head.split(b"content-length: ")[1].split()[0]))
        body = b""
        while size := int(await asyncio.wait_for(self.reader.readline(), WAIT_S), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return status, body

    async def is_closed(self) -> bool:
        """Wait for the server to close it; nothing more may come."""
        return await asyncio.wait_for(self.reader.read(), WAIT_S) == b""


@dataclass
class Running:
    app: App
    port: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return Connection(reader, writer)

    async def answer_to(self, *pieces: bytes) -> tuple[int, str, bool]:
        """Status and body, and whether the connection was closed then."""
        connection = await self.connect()
        for piece in pieces:
            connection.send(piece)
        status, body = await connection.answer()
        closed = status != 200 and await connection.is_closed()
        return status, body.decode(), closed


@asynccontextmanager
async def running(bounds: HttpBounds = PATIENT, keep_alive_s: int = 60) -> AsyncIterator[Running]:
    app = App()
    app.go_on.set()
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_keep_alive=keep_alive_s)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: BoundedHttpProtocol(config=config, server_state=state, app_state={}, bounds=bounds),
        "127.0.0.1",
        0,
    )
    service = Running(app, server.sockets[0].getsockname()[1])
    try:
        yield service
    finally:
        for writer in service.writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=WAIT_S)


def head(*headers: bytes) -> bytes:
    return LINE + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


async def test_a_request_within_the_bounds_is_answered() -> None:
    headers = [b"a%d: b" % i for i in range(98)] + [b"long: " + b"a" * 60_000, b"content-length: 5"]
    async with running() as service:
        status, body, _ = await service.answer_to(head(*headers), b"he", b"llo")
    assert (status, json.loads(body)["bytes"], len(json.loads(body)["headers"])) == (200, 5, 100)


@pytest.mark.parametrize(
    "pieces",
    [
        (head(*[b"a: b"] * 101),),
        (LINE, *[b"a:\r\n"] * 102),  # one is known when the next begins
        (LINE, b"a:\r\n" * 1_000_000),
        (head(b"a: " + b"b" * 64_000),),
        (head(*[b"a: " + b"b" * 9_000] * 8),),
        (LINE + b"a: ", *[b"b" * 50_000] * 20),
        (LINE + b"a" * 100_000, b"a" * 400_000, b"a" * 100_000),
        (head(b"transfer-encoding: chunked"), b"0\r\n", b"a: b\r\n" * 101),
        (head(b"transfer-encoding: chunked"), b"1;", b"a" * 400_000, b"a" * 100_000),
    ],
    ids=[
        "many",
        "many, one by one",
        "a flood",
        "long",
        "long together",
        "endless",
        "a long name",
        "trailers",
        "chunk",
    ],
)
async def test_a_head_above_the_bounds_is_431_while_it_comes(pieces: tuple[bytes, ...]) -> None:
    async with running() as service:
        status, body, closed = await service.answer_to(*pieces)
    assert (status, closed) == (431, True)
    assert body == "the head of the request has more than 100 headers or 64 kB, the limits"


@pytest.mark.parametrize(
    "pieces", [(b"GET /" + b"a" * 16_000 + b" HTTP/1.1\r\n\r\n",), (b"GET /?", *[b"a" * 1000] * 100)]
)
async def test_a_url_above_the_bound_is_414_while_it_comes(pieces: tuple[bytes, ...]) -> None:
    async with running() as service:
        assert await service.answer_to(*pieces) == (414, "the URL is longer than 16 kB, the limit", True)


async def test_what_is_not_http_is_400() -> None:
    async with running() as service:
        assert (await service.answer_to(b"\x00\x01\r\n\r\n"))[::2] == (400, True)


async def test_headers_that_serve_takes_orders_from_do_not_pass() -> None:
    orders = [b"X-Request-Disconnect-Disabled: ?1", b"x-request-timeout-seconds: 1", b"x-session-id: \xff"]
    names = [b"serve_multiplexed_model_id: m", b"Serve-Multiplexed-Model-Id: m", b"x-request-id: \xff"]
    async with running() as service:
        _, body, _ = await service.answer_to(head(*orders, *names, b"x-kept: yes", b"content-length: 0"))
    assert json.loads(body)["headers"] == [["x-kept", "yes"], ["content-length", "0"]]


async def test_an_id_of_the_caller_s_own_passes() -> None:
    async with running() as service:
        _, body, _ = await service.answer_to(head(b"x-request-id: mine"))
    assert json.loads(body)["headers"] == [["x-request-id", "mine"]]


async def test_a_connection_that_sends_nothing_is_closed_without_a_word() -> None:
    async with running(QUICK) as service:
        assert await (await service.connect()).is_closed()


@pytest.mark.parametrize("pieces", [LINE, LINE + b"a: b\r\n", b"\r\n"])
async def test_half_a_head_is_408(pieces: bytes) -> None:
    async with running(QUICK) as service:
        assert await service.answer_to(pieces) == (408, "the request did not come in time", True)


async def test_a_head_that_drips_is_408() -> None:
    async with running(replace(PATIENT, head_timeout_s=0.2)) as service:
        connection = await service.connect()
        answer = asyncio.create_task(connection.answer())
        connection.send(LINE)
        while not answer.done():
            connection.send(b"a:\r\n")
            await asyncio.wait([answer], timeout=0.03)
        assert (await answer)[0] == 408


@pytest.mark.parametrize("drop", [b"", b"a"])
async def test_a_body_that_stops_or_drips_is_408_and_the_application_is_told(drop: bytes) -> None:
    async with running(replace(PATIENT, body_timeout_s=0.2)) as service:
        connection = await service.connect()
        answer = asyncio.create_task(connection.answer())
        connection.send(head(b"content-length: 1000000") + b"a" * 5000)
        while not answer.done():
            connection.send(drop)
            await asyncio.wait([answer], timeout=0.03)
        assert (await answer)[0] == 408
        await asyncio.wait_for(service.app.left.wait(), WAIT_S)


async def test_a_body_that_stops_after_its_answer_is_not_answered_again() -> None:
    async with running(QUICK) as service:
        connection = await service.connect()
        connection.send(b"POST /early HTTP/1.1\r\ncontent-length: 9\r\n\r\n")
        assert (await connection.answer())[0] == 200
        assert await connection.is_closed()


async def test_a_slow_body_that_goes_on_is_read() -> None:
    async with running(replace(PATIENT, body_timeout_s=0.5)) as service:
        connection = await service.connect()
        connection.send(head(b"content-length: 4096"))
        answer = asyncio.create_task(connection.answer())
        for _ in range(4):
            await asyncio.wait([answer], timeout=0.2)
            connection.send(b"a" * 1024)
        assert json.loads((await answer)[1])["bytes"] == 4096


async def test_neither_a_long_response_nor_an_idle_connection_is_cut() -> None:
    async with running(QUICK) as service:
        service.app.go_on.clear()
        connection = await service.connect()
        connection.send(head(b"content-length: 0"))
        answer = asyncio.create_task(connection.answer())
        await asyncio.wait([answer], timeout=0.25)
        assert not answer.done()
        service.app.go_on.set()
        assert (await answer)[0] == 200
        silence = asyncio.create_task(connection.reader.read())
        await asyncio.wait([silence], timeout=0.25)
        assert not silence.done()
        silence.cancel()
        await asyncio.wait([silence])
        connection.send(head(b"content-length: 0"))
        assert (await connection.answer())[0] == 200


async def test_a_websocket_that_is_silent_is_not_cut() -> None:
    upgrade = [b"host: a", b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13"]
    async with running(QUICK) as service:
        connection = await service.connect()
        connection.send(
            b"GET /live HTTP/1.1\r\n"
            + head(*upgrade, b"sec-websocket-key: " + b"A" * 22 + b"==")[len(LINE) :]
        )
        answer = await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), WAIT_S)
        assert answer.startswith(b"HTTP/1.1 101 ")
        silence = asyncio.create_task(connection.reader.read())
        await asyncio.wait([silence], timeout=0.25)
        assert not silence.done()
        silence.cancel()
        await asyncio.wait([silence])


async def test_the_second_head_of_a_connection_has_a_deadline_too() -> None:
    async with running(QUICK) as service:
        connection = await service.connect()
        connection.send(head(b"content-length: 0") + LINE)
        assert (await connection.answer())[0] == 200
        assert (await connection.answer())[0] == 408


async def test_requests_in_one_piece_are_counted_one_by_one() -> None:
    headers = [b"a: b"] * 60 + [b"long: " + b"a" * 40_000, b"content-length: 0"]
    async with running() as service:
        connection = await service.connect()
        connection.send(head(*headers) * 3)
        assert [(await connection.answer())[0] for _ in range(3)] == [200, 200, 200]
