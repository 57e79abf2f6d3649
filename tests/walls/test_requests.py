"""What one request must not do to others: heads and URLs without bound, silence, costly forms."""

import signal
import socket
import time
from contextlib import ExitStack

import pytest

from tests.conftest import wav
from tests.support.service import Running, wait_until
from tests.walls.attack import ATTACKS, connect, flood_of_headers, neighbour, post, received, send
from tests.walls.conftest import TIMEOUT_S

REFUSALS = {
    "8 MB of empty headers": {
        431,
        400,
    },  # HAProxy counts headers as it parses them, and calls that a bad request
    "one header of 8 MB": {431, 400},
    "a URL of 32 MB": {414, 400},
    "2 fields of 1 MB in punycode": {400},
    "a URL-encoded form of 50 MB": {413},
}
PROXIES = ("ray::ProxyActor", "ray::HAProxyManager", "haproxy")
CLOSED_S = 20


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer else 0


@pytest.mark.parametrize("name", ATTACKS)
def test_others_are_answered_while_one_is_refused(service: Running, name: str) -> None:
    with neighbour(service.url) as other:
        answer = ATTACKS[name](service.url)
    assert status_of(answer) in REFUSALS[name], answer[:300]
    assert other.waits_s
    assert not other.wrong


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\na: " + b"b" * 64_000 + b"\r\n\r\n", 431),
        (b"GET /healthz?" + b"a" * 16_000 + b" HTTP/1.1\r\n\r\n", 414),
    ],
)
def test_what_is_a_little_too_large_is_refused_in_plain_words(
    service: Running, head: bytes, status: int
) -> None:
    answer = send(service.url, head)
    assert status_of(answer) == status
    assert b"the limit" in answer


def silent(url: str) -> list[socket.socket]:
    return [connect(url) for _ in range(50)]


def half_heads(url: str) -> list[socket.socket]:
    connections = [connect(url) for _ in range(20)]
    for connection in connections:
        connection.sendall(b"GET /healthz HTTP/1.1\r\na: b\r\n")
    return connections


def bodies_that_stop(url: str) -> list[socket.socket]:
    connections = [connect(url) for _ in range(20)]
    for connection in connections:
        connection.sendall(post(b"multipart/form-data; boundary=b", 1_000_000) + b"--b\r\n")
    return connections


@pytest.mark.parametrize("attack", [silent, half_heads, bodies_that_stop])
def test_connections_that_fall_silent_are_closed(service: Running, attack: object) -> None:
    assert callable(attack)
    began = time.monotonic()
    with ExitStack() as stack, neighbour(service.url) as other:
        for connection in attack(service.url):
            stack.enter_context(connection)
            received(connection)
    assert time.monotonic() - began < CLOSED_S
    assert not other.wrong


def test_a_response_that_takes_longer_than_the_deadlines_is_not_cut(service: Running) -> None:
    with service.client() as client:
        form = {"prompt": f"slow {2.5 * TIMEOUT_S}"}
        answer = client.post("/transcribe", files={"audio_file": ("a.wav", wav(1))}, data=form)
        assert answer.status_code == 200
        with client.stream(
            "POST", "/transcribe/stream", files={"audio_file": ("a.wav", wav(1))}, data=form
        ) as stream:
            assert '"success":true' in stream.read().decode()


def test_a_caller_cannot_give_serve_orders(service: Running) -> None:
    orders = {"x-request-timeout-seconds": "0.01", "serve_multiplexed_model_id": "another"}
    with service.client() as client:
        answer = client.post(
            "/transcribe",
            files={"audio_file": ("a.wav", wav(1))},
            data={"prompt": "slow 0.2"},
            headers=orders,
        )
    assert answer.status_code == 200, answer.text


def test_an_id_that_is_not_utf_8_is_replaced(service: Running) -> None:
    answer = send(
        service.url, b"GET /healthz HTTP/1.1\r\nx-request-id: \xff\xfe\r\nconnection: close\r\n\r\n"
    )
    assert status_of(answer) == 200
    assert b"x-request-id: " in answer.lower()
    assert b"\xff" not in answer


def test_a_proxy_that_was_started_again_has_the_bounds_too(service: Running) -> None:
    victims = [process for process in service.processes() if process.name() in PROXIES]
    for process in victims:
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(process.is_running() for process in victims))
    wait_until(lambda: is_answered(service), 60)
    assert status_of(flood_of_headers(service.url)) in {431, 400}


def is_answered(service: Running) -> bool:
    try:
        return status_of(send(service.url, b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n")) == 200
    except OSError:
        return False
