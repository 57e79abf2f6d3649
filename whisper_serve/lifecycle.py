"""Starts, changes, drains and stops the service on this machine or an external cluster.

What cannot work is reported in one sentence (StartError), before Ray starts where that can be known.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter

import ray
from ray import serve
from ray.serve.schema import LoggingConfig

from whisper_serve.app import build_app
from whisper_serve.config.load import Config
from whisper_serve.config.resolve import Resolved, fetch_weights, resolve
from whisper_serve.errors import ConfigError, StartError
from whisper_serve.host.hardware import this_machine
from whisper_serve.host.ports import check_port, is_any, is_loopback
from whisper_serve.host.watchdog import end, foreign_orphans, orphans, watched
from whisper_serve.serving.ray_cluster import RayDied, check_ray, start_ray, the_cluster
from whisper_serve.weights.progress import ProgressBar

APP = "default"
RAY_CHECK_S = 1.0
QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)  # the service logs its own requests
FIXED = (  # settings that cannot change while the service runs
    "server.host",
    "server.port",
    "server.proxy",
    "server.dashboard",
    "security.tls_cert",
    "security.tls_key",
)

LoadConfig = Callable[[], Config]


@dataclass(frozen=True, slots=True)
class Signals:
    """Set by the signals that this process was sent."""

    stop: threading.Event = field(default_factory=threading.Event)  # SIGTERM, Ctrl-C
    change: threading.Event = field(default_factory=threading.Event)  # SIGHUP

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stop.set())
        signal.signal(signal.SIGHUP, lambda *_: self.change.set())


def run(load: LoadConfig, detach: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain. With `detach`, return as soon as the cluster serves.

    Where RAY_ADDRESS names an external cluster, the service joins it; else it
    starts a Ray of its own and stops it at the end. On SIGHUP the config is
    loaded again, and the running service changed to it.
    """
    config = load()  # a mistake in it is reported before a cluster is joined
    if os.environ.get("RAY_ADDRESS"):
        serve_until_stopped(load, None, detach)
        return
    own = resolve(config, this_machine())
    end_leftovers()
    check_port(own.server.host, own.server.port)
    check_tls(own)
    download_weights(own)
    try:
        with watched():
            serve_until_stopped(load, own, detach)
    except RayDied:
        print("Ray died, and is started again with the service", flush=True)
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606


def serve_until_stopped(load: LoadConfig, own: Resolved | None, detach: bool) -> None:
    """`own`: the config of a Ray of our own; None: RAY_ADDRESS names an external cluster."""
    signals, external_cluster = Signals(), own is None
    dashboard = start_ray(own)
    try:
        signals.listen()
        config = own or resolve(load(), the_cluster())
        deploy(config, external_cluster)
        if warning := open_to_all(config):
            print(warning, file=sys.stderr, flush=True)
        print(ready_line(config, dashboard), flush=True)
        if not detach:
            wait_and_drain(signals, load, config, external_cluster)
    except RayDied:
        raise  # there is nothing to shut down
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()  # ends every process of a Ray of our own, Serve's too


def wait_and_drain(signals: Signals, load: LoadConfig, config: Resolved, external_cluster: bool) -> None:
    while not signals.stop.wait(RAY_CHECK_S):
        check_ray(external_cluster)
        if signals.change.is_set():
            signals.change.clear()
            config = changed(load, config, external_cluster)
    print("whisper_serve is stopping: running requests finish first", flush=True)
    serve.delete(APP)  # drains; serve.shutdown alone would abort running requests


def changed(load: LoadConfig, config: Resolved, external_cluster: bool) -> Resolved:
    """Change the running service to its config as it is now, replica by replica; where that fails, leave it as it is."""
    try:
        new = resolve(load(), the_cluster() if external_cluster else this_machine())
        check_change(config, new)
        if not external_cluster:  # a cluster's nodes download their own
            download_weights(new)
    except StartError as e:
        print(f"error: the configuration stays as it was: {e}", file=sys.stderr, flush=True)
        return config
    try:
        deploy_app(new)
    except StartError as e:
        print(f"error: the old configuration is put back: {e}", file=sys.stderr, flush=True)
        put_back(config)
        return config
    print("the configuration is changed", flush=True)
    return new


def put_back(config: Resolved) -> None:
    """Undo a change that Serve has begun: it would try for ever. Replicas that run go on in any case."""
    try:
        deploy_app(config)
    except StartError as e:
        print(f"error: that failed too: {e}", file=sys.stderr, flush=True)
    else:
        print("the configuration is as it was", flush=True)


def check_change(config: Resolved, new: Resolved) -> None:
    """Raises ConfigError where Ray, or its proxy, would have to be started anew."""
    fixed = [name for name in FIXED if attrgetter(name)(config) != attrgetter(name)(new)]
    if config.limits.num_cpus != new.limits.num_cpus:
        fixed.append("server.num_cpus")
    if fixed:
        raise ConfigError(f"{', '.join(fixed)} can change only with a new start")


def end_leftovers() -> None:
    """End the processes of an earlier run whose main.py was killed: they would hold the port, and memory."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # zombies of a Ray that died under this very process
            pass
    found = orphans()
    if found:
        print(f"a run whose main.py was killed left {len(found)} processes; they are ended now", flush=True)
        end(orphans, grace_s=0)
    if others := foreign_orphans():
        print(
            f"{len(others)} processes of a service that was started in another folder, and whose main.py was killed, are "
            f"left alone: {', '.join(map(str, others))}",
            flush=True,
        )


def check_tls(config: Resolved) -> None:
    for path in (config.security.tls_cert, config.security.tls_key):
        if path and not os.access(path, os.R_OK):
            raise ConfigError(f"cannot read {path}; security.tls_cert and tls_key name two PEM files")


def download_weights(config: Resolved) -> None:
    """Before Ray starts, so that its replicas find them, with a progress bar."""
    with ProgressBar() as bar:
        fetch_weights(config, bar.report)


def deploy(config: Resolved, external_cluster: bool) -> None:
    """Start the HTTP proxy and the two deployments; return when a replica has its model."""
    serve.start(
        proxy_location="EveryNode" if external_cluster else "HeadOnly",
        http_options=http_options(config),
        logging_config=QUIET,
    )
    deploy_app(config)


def deploy_app(config: Resolved) -> None:
    """Where it runs already, Serve replaces replicas whose config differs, a few at a time, and drains the old ones."""
    try:
        serve.run(build_app(config), name=APP, logging_config=QUIET)
    except RuntimeError as e:
        raise StartError(f"the service could not be deployed: {e}") from e


def http_options(config: Resolved) -> dict[str, object]:
    server, security = config.server, config.security
    options: dict[str, object] = {"host": server.host, "port": server.port}
    if security.tls_cert:
        options |= {"ssl_certfile": str(security.tls_cert), "ssl_keyfile": str(security.tls_key)}
    return options


def open_to_all(config: Resolved) -> str | None:
    """The warning about a service that other machines reach without a key."""
    if config.security.keys or is_loopback(config.server.host):
        return None
    return (
        f"WARNING: anyone who reaches port {config.server.port} of this machine can use the service: "
        'no security.keys are set. Set some, or server.host to "127.0.0.1".'
    )


def ready_line(config: Resolved, dashboard: str | None) -> str:
    host = "localhost" if is_any(config.server.host) else config.server.host
    scheme = "https" if config.security.tls_cert else "http"
    line = f"whisper_serve is ready: {scheme}://{host}:{config.server.port}"
    return f"{line}  Ray dashboard: http://{dashboard}" if dashboard else line
