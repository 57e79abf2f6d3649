"""What hostile callers send, and how long another caller waits meanwhile, who posts one second of sound again and again.

    python -m tests.walls.attack [haproxy]

starts a service with the fake engine, runs each attack against it, and prints the longest wait beside each.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import repeat

import httpx

from tests.conftest import wav
from tests.support.service import FAKE, Running, started, wait_until

ANSWER_S = 60.0
PAUSE_S = 0.02  # of the other caller, between two requests
SECOND = wav(1)


@dataclass
class Neighbour:
    """The caller who minds the attack."""

    url: str
    waits_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # answers
    done: threading.Event = field(default_factory=threading.Event)

    def post(self) -> None:
        with httpx.Client(base_url=self.url, timeout=ANSWER_S) as client:
            while not self.done.is_set():
                began = time.perf_counter()
                try:
                    answer = client.post("/transcribe", files={"audio_file": ("a.wav", SECOND)})
                except httpx.TransportError as e:
                    self.wrong.append(repr(e))
                else:
                    if answer.status_code != 200:
                        self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
                self.waits_s.append(time.perf_counter() - began)
                self.done.wait(PAUSE_S)

    @property
    def longest_s(self) -> float:
        return max(self.waits_s)


@contextmanager
def neighbour(url: str) -> Iterator[Neighbour]:
    """Begins before the block does, and ends with it."""
    caller = Neighbour(url)
    thread = threading.Thread(target=caller.post)
    thread.start()
    wait_until(lambda: caller.waits_s, ANSWER_S)
    try:
        yield caller
    finally:
        caller.done.set()
        thread.join()


def connect(url: str) -> socket.socket:
    parsed = httpx.URL(url)
    return socket.create_connection((parsed.host, parsed.port or 80), timeout=ANSWER_S)


def send(url: str, head: bytes, piece: bytes = b"", size: int = 0) -> bytes:
    """Send `head`, then `piece` until `size` bytes are sent or the service has had enough; what it answers."""
    with connect(url) as connection:
        with suppress(ConnectionError):  # closed: what it said before is still there
            connection.sendall(head)
            for _ in repeat(None, size // max(len(piece), 1)):
                connection.sendall(piece)
        return received(connection)


def received(connection: socket.socket) -> bytes:
    """All that comes until it is closed."""
    answer = b""
    with suppress(ConnectionError):
        while data := connection.recv(65536):
            answer += data
    return answer


FORMS_ONLY = b"/asr"  # /transcribe takes a body of any other type as the recording


def post(content_type: bytes, size: int, path: bytes = b"/transcribe") -> bytes:
    lines = (b"POST %s HTTP/1.1" % path, b"host: a", b"connection: close", b"content-type: " + content_type)
    return b"\r\n".join((*lines, b"content-length: %d" % size, b"", b""))


def flood_of_headers(url: str, megabytes: int = 8) -> bytes:
    return send(url, b"GET /healthz HTTP/1.1\r\n", b"a:\r\n" * 2500, megabytes * 1_000_000)


def endless_header(url: str, megabytes: int = 8) -> bytes:
    return send(url, b"GET /healthz HTTP/1.1\r\na: ", b"a" * 10_000, megabytes * 1_000_000)


def endless_url(url: str, megabytes: int = 32) -> bytes:
    return send(url, b"GET /", b"a" * 10_000, megabytes * 1_000_000)


def punycode(url: str, fields: int = 2) -> bytes:
    """Form fields of 1 MB each, in a codec that takes time that grows with their square."""
    part = b'--b\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n' + b"a" * 999_000 + b"\r\n"
    size = fields * len(part)
    return send(url, post(b"multipart/form-data; boundary=b; charset=punycode", size), part, size)


def ampersands(url: str, megabytes: int = 50) -> bytes:
    size = megabytes * 1_000_000
    return send(url, post(b"application/x-www-form-urlencoded", size, FORMS_ONLY), b"&" * 100_000, size)


ATTACKS: dict[str, Callable[[str], bytes]] = {
    "8 MB of empty headers": flood_of_headers,
    "one header of 8 MB": endless_header,
    "a URL of 32 MB": endless_url,
    "2 fields of 1 MB in punycode": punycode,
    "a URL-encoded form of 50 MB": ampersands,
}


def wait_beside(service: Running, attack: Callable[[str], bytes]) -> tuple[float, str]:
    """The other caller's longest wait, in seconds, and the first line of what the attacker is told."""
    with neighbour(service.url) as other:
        answer = attack(service.url)
    assert not other.wrong, other.wrong
    return other.longest_s, answer.split(b"\r\n")[0].decode() or "closed"


def main() -> None:
    settings = FAKE | {"SERVER__PROXY": "haproxy" if "haproxy" in sys.argv else "python"}
    with started(settings) as service:
        service.wait_until_ready()
        wait_beside(service, lambda url: send(url, post(b"text/plain", 0)))
        for name, attack in ATTACKS.items():
            wait_s, told = wait_beside(service, attack)
            print(f"{name}: others wait {wait_s:.2f} s at most; the attacker is told {told!r}", flush=True)


if __name__ == "__main__":
    main()
