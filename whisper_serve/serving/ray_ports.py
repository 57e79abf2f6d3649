"""Ray on one machine: its own ports closed to other machines. Where Ray is pinned to leave them open, it is told here.

Whoever reaches those ports can run code: Ray's processes trust each other.
"""

import os
from typing import Any

from ray._common.tls_utils import add_port_to_grpc_server
from ray._private import ray_constants
from ray.serve._private import replica

HERE = "127.0.0.1"


def close_ports() -> None:
    """Before Ray starts: it takes this machine for one that cannot be in a cluster, and stays on loopback."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # for the processes it starts
    ray_constants.ENABLE_RAY_CLUSTER = False


def close_replica_port() -> None:
    """In a replica's constructor: Ray Serve opens a port of each replica after it, on every address."""
    if ray_constants.ENABLE_RAY_CLUSTER:
        return

    def add_port(server: Any, address: str) -> Any:
        return add_port_to_grpc_server(server, address.replace("[::]", HERE))

    replica.add_port_to_grpc_server = add_port  # type: ignore[attr-defined]
