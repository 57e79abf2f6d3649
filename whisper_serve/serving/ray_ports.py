"""Keeps Ray's own ports on the loopback address, where the service runs on one machine.

Whoever reaches those ports can run code: Ray's processes trust each other.
"""

import os
from typing import Any

from ray._common.tls_utils import add_port_to_grpc_server
from ray._private import ray_constants
from ray.serve._private import replica

LOOPBACK = "127.0.0.1"


def close_ports() -> None:
    """To be called before Ray starts: on a machine that cannot be part of a cluster it listens on loopback only."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # for the processes it starts
    ray_constants.ENABLE_RAY_CLUSTER = False


def close_replica_port() -> None:
    """To be called in a replica's constructor: Ray Serve then opens a port for each replica, by default on every address."""
    if ray_constants.ENABLE_RAY_CLUSTER:
        return

    def add_port(server: Any, address: str) -> Any:
        return add_port_to_grpc_server(server, address.replace("[::]", LOOPBACK))

    replica.add_port_to_grpc_server = add_port  # type: ignore[attr-defined]
