"""HTTP/1.1 as uvicorn speaks it, with bounds on what a client may send before its request is read, and on its silences.

Ray Serve's proxy runs it and, behind HAProxy, so do the ingress replicas: `serving/proxy.py` brings it there.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray.serve._private.constants import (
    SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
    SERVE_HTTP_REQUEST_ID_HEADER,
    SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
    SERVE_MULTIPLEXED_MODEL_ID,
    SERVE_SESSION_ID,
)
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from whisper_serve.config.server import Server

PIECE_BYTES = 1024  # fewer of a body do not count as a sign of life
# Read and dropped after a refusal, so that the client can read that first.
LINGER_S, LINGER_BYTES = 2.0, 1_000_000
LATE = "the request did not come in time"
OVERHEAD_BYTES = 4  # of a header: colon, blank, end of line


def spelled_alike(header: str) -> bytes:
    """Serve takes hyphens and underscores of some names for the same."""
    return header.lower().encode().replace(b"_", b"-")


REQUEST_ID = spelled_alike(SERVE_HTTP_REQUEST_ID_HEADER)
SERVE_HEADERS = frozenset(  # with which a caller would change how Serve treats its request
    map(
        spelled_alike,
        (
            SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
            SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
            SERVE_MULTIPLEXED_MODEL_ID,
            SERVE_SESSION_ID,
        ),
    )
)


@dataclass(frozen=True, slots=True)
class HttpBounds:
    url_bytes: int
    head_bytes: int  # request line and headers, trailers included
    headers: int
    head_timeout_s: float
    body_timeout_s: float  # for each piece of a body


def http_bounds(server: Server) -> HttpBounds:
    return HttpBounds(
        url_bytes=int(server.max_url_kb * 1e3),
        head_bytes=int(server.max_head_kb * 1e3),
        headers=server.max_headers,
        head_timeout_s=server.head_timeout_s,
        body_timeout_s=server.body_timeout_s,
    )


def url_refusal(bounds: HttpBounds) -> tuple[int, str]:
    return 414, f"the URL is longer than {bounds.url_bytes / 1e3:g} kB, the limit"


def head_refusal(bounds: HttpBounds) -> tuple[int, str]:
    limits = f"{bounds.headers} headers or {bounds.head_bytes / 1e3:g} kB"
    return 431, f"the head of the request has more than {limits}, the limits"


def use_bounded_protocol(bounds: HttpBounds) -> None:
    """To be called in a process before Ray Serve starts uvicorn there."""
    HTTP_PROTOCOLS["auto"] = partial(BoundedHttpProtocol, bounds=bounds)  # type: ignore[assignment]  # may be a class too


class OutOfBounds(Exception):
    """Raised inside the parser, which reports it as a request that is not HTTP."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses with 414 and 431 what is out of bounds, while it comes, and with 408 what does not come in time.

    A connection that has sent nothing is closed without a word. One that waits for its response, or for the
    client's next request, is left to uvicorn.
    """

    def __init__(self, *args: Any, bounds: HttpBounds, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bounds = bounds
        self.url_bytes = self.head_bytes = self.header_count = 0  # of this request
        self.in_body = False  # as opposed to its head
        self.body_bytes = 0  # of the piece that is awaited
        self.unparsed = 0  # bytes that came since the parser last found something
        self.received = False  # anything at all
        self.refusal: tuple[int, str] | None = None  # status, sentence
        self.refused = False
        self.dropped = 0  # bytes, after the refusal
        self.due: float | None = None  # when the next piece must have come; None: nothing is awaited
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await(self.bounds.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.refused:
            self._drop(len(data))
            return
        self.received = True
        if self.due is None:
            self._await(self.bounds.head_timeout_s)
        self.unparsed += len(data)
        super().data_received(data)
        if self.unparsed > self.bounds.head_bytes and not self.refused:
            self._refuse(*head_refusal(self.bounds))

    def handle_websocket_upgrade(self) -> None:
        self._stop_waiting()
        self.unparsed = 0
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*(self.refusal or (400, msg)))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.url_bytes = self.head_bytes = self.header_count = self.unparsed = 0
        if self.due is None:
            self._await(self.bounds.head_timeout_s)

    def on_url(self, url: bytes) -> None:
        self.unparsed = 0
        self.url_bytes += len(url)
        if self.url_bytes > self.bounds.url_bytes:
            self._out_of_bounds(*url_refusal(self.bounds))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the head, or of a chunked body's trailers."""
        self.unparsed = 0
        self.header_count += 1
        self.head_bytes += len(name) + len(value) + OVERHEAD_BYTES
        if (
            self.header_count > self.bounds.headers
            or self.url_bytes + self.head_bytes > self.bounds.head_bytes
        ):
            self._out_of_bounds(*head_refusal(self.bounds))
        header = name.lower().replace(b"_", b"-")
        if header in SERVE_HEADERS or (header == REQUEST_ID and not value.isascii()):
            return  # Serve fails on an id that is not UTF-8; it makes one where there is none
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.in_body = True
        self.body_bytes = 0
        self._await(self.bounds.body_timeout_s)

    def on_body(self, body: bytes) -> None:
        self.unparsed = 0
        self.body_bytes += len(body)
        if self.body_bytes >= PIECE_BYTES:
            self.body_bytes = 0
            self._await(self.bounds.body_timeout_s)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.in_body = False
        self.due = None
        super().on_message_complete()

    def _await(self, seconds: float) -> None:
        self.due = self.loop.time() + seconds
        if self.timer is None or self.timer.when() > self.due:
            self._set_timer(seconds)

    def _set_timer(self, seconds: float) -> None:
        if self.timer:
            self.timer.cancel()
        self.timer = self.loop.call_later(seconds, self._look_at_clock)

    def _stop_waiting(self) -> None:
        self.due = None
        if self.timer:
            self.timer.cancel()
            self.timer = None

    def _look_at_clock(self) -> None:
        """One timer serves many pieces: setting it anew for each would cost more."""
        self.timer = None
        if self.due is None:
            return
        if self.flow.read_paused or (self.cycle and self.cycle.waiting_for_100_continue):
            self._await(self.bounds.body_timeout_s)  # it is we who let the client wait
        elif (left := self.due - self.loop.time()) > 0:
            self._set_timer(left)
        elif self.received:
            self._refuse(408, LATE)
        else:
            self.transport.close()

    def _out_of_bounds(self, status: int, message: str) -> None:
        self.refusal = status, message
        raise OutOfBounds(message)

    def _refuse(self, status: int, message: str) -> None:
        """Answer, if nothing of a response was sent yet, and close when the client has had time to read that."""
        self.refused = True
        self._stop_waiting()
        self._unset_keepalive_if_required()
        cycle = self.cycle
        if cycle and cycle.response_started and (self.in_body or not cycle.response_complete):
            self.transport.abort()
            return
        if cycle and not cycle.response_complete:  # the application is told that its client is gone
            cycle.disconnected = True
            cycle.message_event.set()
        self.flow.resume_reading()
        self.transport.write(refusal(status, message))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.timer = self.loop.call_later(LINGER_S, self.transport.abort)

    def _drop(self, size: int) -> None:
        self.dropped += size
        if self.dropped > LINGER_BYTES:
            self.transport.abort()


def refusal(status: int, message: str) -> bytes:
    """A whole response."""
    body = message.encode()
    head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    return STATUS_LINE[status] + head % len(body) + body
