"""Tells systemd the state of the service, as `Type=notify` wants it (sd_notify(3)); without systemd it does nothing."""

import os
import socket


def notify(state: str) -> None:
    """state: such as READY=1, RELOADING=1, STOPPING=1."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
