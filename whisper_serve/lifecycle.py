"""Starts the service on this machine or an external cluster, watches over it, drains and stops it.

What cannot work is reported in one sentence (StartError), before Ray starts where that can be known.
"""

import os
import sys
from contextlib import suppress
from typing import NoReturn

import ray
from ray import serve

from whisper_serve.config.resolve import Resolved, resolve
from whisper_serve.errors import ConfigError
from whisper_serve.host.hardware import this_machine
from whisper_serve.host.ports import check_port, is_any, is_loopback
from whisper_serve.host.private_folder import private_folder
from whisper_serve.host.signals import Signals, Stopped, interrupted_by
from whisper_serve.host.systemd import notify
from whisper_serve.host.watchdog import end, foreign_orphans, orphans, own_processes, watched
from whisper_serve.rollout import APP, LoadConfig, changed, deploy, download_weights
from whisper_serve.serving.drain import DrainSettings, drain, drain_proxies
from whisper_serve.serving.ray_cluster import RayDied, check_ray, start_ray, the_cluster
from whisper_serve.telemetry.logs import set_up_audit

RAY_CHECK_S = 1.0
LOST = 1  # the exit code where requests were lost
INTERRUPTED = 130  # the exit code of a process that Ctrl-C ended


def run(load: LoadConfig, detach: bool = False) -> int:
    """Serve until SIGTERM or Ctrl-C, then drain; return the exit code. With `detach`, return as soon as the cluster serves.

    Where RAY_ADDRESS names an external cluster, the service joins it; else it
    starts a Ray of its own and stops it at the end. On SIGHUP the config is
    loaded again, and the running service changed to it.
    """
    signals = Signals(abort)
    signals.listen()
    try:
        with interrupted_by(signals.raise_if_stopped):
            own = prepared(load)
        if own is None:
            return serve_until_stopped(signals, load, None, detach)
        with watched():
            return serve_until_stopped(signals, load, own, detach)
    except Stopped:
        print("whisper_serve is stopped before it was ready", flush=True)
        return 0
    except RayDied:
        if signals.stop.is_set():
            leave(LOST, "error: Ray ended before the service had stopped; running requests are lost")
        print("Ray died, and is started again with the service", flush=True)
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606


def prepared(load: LoadConfig) -> Resolved | None:
    """The config for a Ray of our own, whose port is free and whose weights are here; None on an external cluster."""
    config = load()  # a mistake in it is reported before a cluster is joined
    set_up_audit(config.logging)
    if os.environ.get("RAY_ADDRESS"):
        return None
    own = resolve(config, this_machine())
    end_leftovers()
    check_port(own.server.host, own.server.port)
    check_tls(own)
    private_folder()  # one that others have planted is reported before weights are downloaded
    download_weights(own)
    print(f"memory: {own.memory}", flush=True)
    return own


def abort() -> NoReturn:
    """At the second Ctrl-C: end every process of this run at once."""
    end(own_processes, grace_s=0)
    leave(INTERRUPTED, "whisper_serve is stopped at once: running requests are lost")


def leave(code: int, sentence: str) -> NoReturn:
    """End this process without Ray's own shutdown, which would wait for what is gone."""
    print(sentence, file=sys.stderr, flush=True)
    os._exit(code)


def serve_until_stopped(signals: Signals, load: LoadConfig, own: Resolved | None, detach: bool) -> int:
    """`own`: the config of a Ray of our own; None: RAY_ADDRESS names an external cluster."""
    external_cluster, lost = own is None, 0
    try:
        with interrupted_by(signals.raise_if_stopped):
            dashboard = start_ray_or_stop(own)
        signals.listen()  # Ray has put handlers of its own in their place
        with interrupted_by(signals.raise_if_stopped, lambda: check_ray(external_cluster)):
            config = own or resolve(load(), the_cluster())
            deploy(config, external_cluster)
        announce(config, dashboard)
        if not detach:
            config = wait_for_stop(signals, load, config, external_cluster)
            lost = stop(config, external_cluster)
    except RayDied:  # there is nothing to shut down
        if signals.stop.is_set():
            end(own_processes, grace_s=0)
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()  # ends every process of a Ray of our own, Serve's too
    return LOST if lost else 0


def start_ray_or_stop(own: Resolved | None) -> str | None:
    """The dashboard's URL, where there is one. Raises Stopped where SIGTERM came while Ray's own handler was in place."""
    try:
        return start_ray(own)
    except SystemExit as e:
        raise Stopped from e


def announce(config: Resolved, dashboard: str | None) -> None:
    if warning := open_to_all(config):
        print(warning, file=sys.stderr, flush=True)
    print(ready_line(config, dashboard), flush=True)
    notify("READY=1")


def wait_for_stop(signals: Signals, load: LoadConfig, config: Resolved, external_cluster: bool) -> Resolved:
    """Change the service at each SIGHUP; return its config as it is when a stop is asked for. Raises RayDied."""
    while not signals.stop.wait(RAY_CHECK_S):
        check_ray(external_cluster)
        if signals.change.is_set():
            signals.change.clear()
            notify("RELOADING=1")
            with (
                suppress(Stopped),
                interrupted_by(signals.raise_if_stopped, lambda: check_ray(external_cluster)),
            ):
                config = changed(load, config, external_cluster)
            notify("READY=1")
    return config


def stop(config: Resolved, external_cluster: bool) -> int:
    """Answer the running requests; return how many were not answered in time. Raises RayDied."""
    print("whisper_serve is stopping: running requests finish first", flush=True)
    notify("STOPPING=1")
    settings = DrainSettings(config.server.drain_delay_s, config.server.drain_timeout_s)
    with interrupted_by(lambda: check_ray(external_cluster)):
        lost = drain(APP, settings)
        if external_cluster:
            serve.delete(APP, _blocking=not lost)
        else:
            drain_proxies()
    if lost:
        print(
            f"error: {lost} requests still ran after {settings.timeout_s:g} s and are lost",
            file=sys.stderr,
            flush=True,
        )
    return lost


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
