"""Who a caller is, by address."""

import pytest
from starlette.datastructures import Headers

from whisper_serve.api.middleware.guard import network_of, origin

PROXIES = ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("address", "forwarded", "caller"),
    [
        ("1.2.3.4", None, "1.2.3.4"),
        ("1.2.3.4", "9.9.9.9", "1.2.3.4"),  # a stranger may write what it likes
        ("10.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "6.6.6.6, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("10.0.0.1", None, "10.0.0.1"),
    ],
)
def test_only_our_own_proxies_are_believed(address: str, forwarded: str | None, caller: str) -> None:
    assert origin(address, Headers({"x-forwarded-for": forwarded} if forwarded else {}), PROXIES) == caller


def test_an_ipv6_caller_is_its_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") == "2001:db8::/64"
    assert network_of("1.2.3.4") == "1.2.3.4"
    assert network_of("testclient") == "testclient"
