import pytest

from whisper_serve.config.server import Server
from whisper_serve.serving.http_protocol import http_bounds
from whisper_serve.serving.proxy import BOUNDS, bounds_for_proxies, bounds_here


def test_a_proxy_has_the_bounds_of_the_config_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(max_headers=7, max_head_kb=1.5, head_timeout_s=0.5)
    for name, value in bounds_for_proxies(server).items():
        monkeypatch.setenv(name, value)
    assert bounds_here() == http_bounds(server)
    assert (bounds_here().headers, bounds_here().head_bytes) == (7, 1500)


def test_without_a_config_a_proxy_has_the_default_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BOUNDS, raising=False)
    assert bounds_here() == http_bounds(Server())
