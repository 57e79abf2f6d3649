"""Starting a Ray of our own or joining a cluster, its resources, and whether it is still alive."""

import logging
import os
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray._private import services, worker
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET
from ray._private.ray_logging import global_worker_stdstream_dispatcher

from whisper_serve.config.resolve import Resolved
from whisper_serve.config.server import Server
from whisper_serve.host.hardware import Machine
from whisper_serve.host.ports import free_port
from whisper_serve.host.private_folder import socket_folder
from whisper_serve.serving.haproxy import bound_haproxy
from whisper_serve.serving.proxy import bound_proxy, bounds_for_proxies
from whisper_serve.serving.ray_ports import close_ports

# Bytes that follow the folder: a session with a process id of seven digits, and HAProxy's socket while it is made.
LONGEST_SOCKET = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
LONGEST_HAPROXY_SOCKET = len(f"/{0:056}/admin.sock.4194304.tmp")

GCS_TIMEOUT_S = 0.5


class RayDied(Exception):
    """A process that Ray cannot do without has ended."""


def start_ray(config: Resolved | None, forward: Callable[[Mapping[str, Any]], None]) -> str | None:
    """Start Ray for a config, or without one join the cluster that RAY_ADDRESS names.

    forward: is given the lines that processes write to their output, in the place of Ray's own printer.
    Returns its dashboard's URL, where there is one.
    """
    os.environ.setdefault("RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S", "1")  # a dead proxy is back in 3 s, not 24
    os.environ.setdefault("RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S", "0.1")  # a stop would last 30 s
    os.environ.setdefault("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.5")  # 0.1 takes 4 % of a core, idle or not
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if config is None:
        context = ray.init(logging_level=logging.ERROR)
    else:
        server = config.server
        os.environ |= serve_environment(server)
        if server.proxy == "haproxy":
            use_haproxy()
        close_ports()
        start_in_own_session()
        context = ray.init(
            address="local",
            num_cpus=config.limits.num_cpus,
            include_dashboard=server.dashboard,
            dashboard_host=server.dashboard_host,
            dashboard_port=free_port(server.dashboard_host, server.dashboard_port)
            if server.dashboard
            else None,
            object_store_memory=int(config.memory.store_mb * 1e6),
            _temp_dir=str(ray_folder()),
            logging_level=logging.ERROR,
        )
    hide_token()
    global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")
    global_worker_stdstream_dispatcher.add_handler("whisper_serve", forward)
    return context.dashboard_url


def start_in_own_session() -> None:
    """Have Ray's processes in a session of their own: a signal to the group of main.py must not end them first."""
    services.ConsolePopen = partial(subprocess.Popen, start_new_session=True)  # type: ignore[misc, assignment]


def serve_environment(server: Server) -> dict[str, str]:
    """What Serve's controller has to find in its environment, and the proxies and replicas that it starts."""
    return bounds_for_proxies(server) | {
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{bound_proxy.__module__}:{bound_proxy.__name__}",
        "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH": f"{bound_haproxy.__module__}:{bound_haproxy.__name__}",
        # a frozen ingress cannot drain, and would keep its CPU until then
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    }


def ray_folder() -> Path:
    """Where Ray keeps its sessions: sockets, logs and what it spills. It makes them open to every user, in /tmp/ray."""
    named = os.environ.get("RAY_TMPDIR")
    return socket_folder("ray", LONGEST_SOCKET, Path(named) if named else None)


def hide_token() -> None:
    """Make Ray's token readable to its owner only: whoever reads it can run code here, and Ray leaves it readable to all."""
    with suppress(OSError):  # not ours, or there is none
        Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token").chmod(0o600)


def use_haproxy() -> None:
    """Settings that Ray reads when it starts. Its default ports for statistics may be taken by another service here."""
    folder = socket_folder("ha", LONGEST_HAPROXY_SOCKET)
    os.environ |= {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",  # whoever reaches it may change HAProxy's settings
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{folder}",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port("0.0.0.0", 8404)),  # noqa: S104
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port("0.0.0.0", 9101)),  # noqa: S104
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # else a stop takes 30 s
    }


def the_cluster() -> Machine:
    """The resources of Ray's nodes: all GPUs, and the CPUs of the largest node, since a replica must fit on one."""
    nodes: list[dict[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Machine(
        cpus=max((node.get("CPU", 0.0) for node in nodes), default=0.0),
        gpus=sum(node.get("GPU", 0.0) for node in nodes),
        name="the Ray cluster",
    )


def check_ray(external_cluster: bool) -> None:
    """Raises RayDied where raylet or GCS of a Ray of our own ended: they do not come back by themselves."""
    node = worker._global_node
    dead: set[str] = {kind for kind, _ in node.dead_processes()} if node and not external_cluster else set()
    if dead & {PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET}:
        raise RayDied


def check_gcs(external_cluster: bool) -> None:
    """Raises RayDied where the GCS of a Ray of our own takes no connection: after SIGTERM it may be so, and never end."""
    node = worker._global_node
    if node is None or external_cluster:
        return
    host, _, port = node.gcs_address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=GCS_TIMEOUT_S).close()
    except ConnectionRefusedError as e:
        raise RayDied from e
    except OSError:  # it is busy
        return
