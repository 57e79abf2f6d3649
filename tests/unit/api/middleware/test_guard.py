"""Names of callers without a key."""

from whisper_serve.api.middleware.guard import network_of


def test_an_ipv6_caller_is_its_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") == "2001:db8::/64"
    assert network_of("1.2.3.4") == "1.2.3.4"
    assert network_of("testclient") == "testclient"
