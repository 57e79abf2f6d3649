"""Which ports of this machine are free, and whether an address is reachable from other machines."""

import socket
from contextlib import suppress
from ipaddress import ip_address

from whisper_serve.errors import ConfigError


def check_port(host: str, port: int) -> None:
    """Raises ConfigError where no server can listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {e.strerror}; set server.port to a free one"
            ) from e


def free_port(host: str, port: int) -> int:
    """`port`, or the next one that is free."""
    for candidate in range(port, min(port + 100, 65536)):
        with suppress(ConfigError):
            check_port(host, candidate)
            return candidate
    raise ConfigError(f"no port from {port} on is free for Ray's dashboard; set server.dashboard_port")


def is_loopback(host: str) -> bool:
    try:
        return not is_any(host) and ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def is_any(host: str) -> bool:
    """Whether a server on it listens on every address of the machine."""
    return host in ("", "::") or not host.strip("0.")
