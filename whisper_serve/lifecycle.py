"""Starts the service on this machine or an external cluster, watches over it, drains and stops it.

What cannot work is reported in one sentence (StartError), before Ray starts where that can be known.
"""

import os
import sys
import threading
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import NoReturn

import ray
from ray import serve

from whisper_serve.config.resolve import Resolved, resolve
from whisper_serve.errors import ConfigError
from whisper_serve.host.hardware import this_machine
from whisper_serve.host.ports import check_port
from whisper_serve.host.private_folder import private_folder
from whisper_serve.host.signals import Signals, Stopped, interrupted_by
from whisper_serve.host.systemd import notify
from whisper_serve.host.watchdog import end, foreign_orphans, hurry, orphans, watched
from whisper_serve.rollout import APP, LoadConfig, changed, deploy, download_weights, loaded_engines
from whisper_serve.serving.drain import DrainSettings, drain, drain_proxies
from whisper_serve.serving.ray_cluster import RayDied, check_gcs, check_ray, start_ray, the_cluster
from whisper_serve.startup_summary import open_to_all, ready_sentence, summary
from whisper_serve.telemetry.console import Console, open_console
from whisper_serve.telemetry.logs import set_up_audit

RAY_CHECK_S = 1.0
SHUTDOWN_S = 20.0
LOST = 1  # the exit code where requests were lost
RAY_ENDED = "error: Ray ended before the service had stopped; running requests are lost"
STOPPED_EARLY = "whisper_serve is stopped before it was ready"
INTERRUPTED = 130  # the exit code of a process that Ctrl-C ended


@dataclass(frozen=True, slots=True)
class Run:
    """What main.py was asked for."""

    load: LoadConfig
    own: Resolved | None  # the config of a Ray of our own; None: RAY_ADDRESS names an external cluster
    detach: bool  # return as soon as the cluster serves
    signals: Signals
    console: Console
    began: float  # moment of time.monotonic()

    @property
    def external_cluster(self) -> bool:
        return self.own is None

    def check_ray(self) -> None:
        """Raises RayDied."""
        check_ray(self.external_cluster)
        check_gcs(self.external_cluster)


def run(load: LoadConfig, detach: bool = False) -> int:
    """Serve until SIGTERM or Ctrl-C, then drain; return the exit code. With `detach`, return as soon as the cluster serves.

    Where RAY_ADDRESS names an external cluster, the service joins it; else it
    starts a Ray of its own and stops it at the end. On SIGHUP the config is
    loaded again, and the running service changed to it.
    """
    signals, began = Signals(abort), time.monotonic()
    signals.listen()
    try:
        with interrupted_by(signals.raise_if_stopped, forced=give_up):
            console, own = prepared(load)
        run = Run(load, own, detach, signals, console, began)
        with nullcontext() if run.external_cluster else watched():
            return serve_until_stopped(run)
    except Stopped:
        print(STOPPED_EARLY, flush=True)
        return 0
    except RayDied:
        print("Ray died, and is started again with the service", flush=True)
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606


def prepared(load: LoadConfig) -> tuple[Console, Resolved | None]:
    """The config for a Ray of our own, whose port is free and whose weights are here; None on an external cluster."""
    config = load()  # a mistake in it is reported before a cluster is joined
    set_up_audit(config.logging)
    console = open_console(config.logging)
    if os.environ.get("RAY_ADDRESS"):
        return console, None
    own = resolve(config, this_machine())
    end_leftovers(console)
    check_port(own.server.host, own.server.port)
    check_tls(own)
    private_folder()  # one that others have planted is reported before weights are downloaded
    download_weights(own)
    console.say(f"starting Ray; memory: {own.memory}")
    return console, own


def abort() -> NoReturn:
    """At the second Ctrl-C: end every process of this run at once."""
    leave(INTERRUPTED, "whisper_serve is stopped at once: running requests are lost")


def give_up(why: BaseException) -> NoReturn:
    """Where Stopped or RayDied cannot be raised in the main thread: end without waiting for it."""
    if isinstance(why, Stopped):
        leave(0, STOPPED_EARLY)
    leave(LOST, RAY_ENDED)


def leave(code: int, sentence: str) -> NoReturn:
    """End this process without Ray's own shutdown, which would wait for what is gone; the watchdog kills the others."""
    print(sentence, file=sys.stderr, flush=True)
    hurry()
    os._exit(code)


def serve_until_stopped(run: Run) -> int:
    """Return the exit code."""
    lost, signals = 0, run.signals
    try:
        with interrupted_by(signals.raise_if_stopped, forced=give_up):
            dashboard = start_ray_or_stop(run)
        signals.listen()  # Ray has put handlers of its own in their place
        with interrupted_by(signals.raise_if_stopped, run.check_ray, forced=give_up):
            config = run.own or resolve(run.load(), the_cluster())
            run.console.say(f"loading {config.model.size}, replicas: {config.deployment.most}")
            deploy(config, run.external_cluster)
            announce(run, config, dashboard)
        if not run.detach:
            config = wait_for_stop(run, config)
            lost = stop(run, config)
    except RayDied:  # there is nothing to shut down
        if signals.stop.is_set():
            leave(LOST, RAY_ENDED)
        raise
    except BaseException:
        shut_ray_down(LOST)
        raise
    shut_ray_down(LOST if lost else 0)
    return LOST if lost else 0


def shut_ray_down(code: int) -> None:
    """End every process of a Ray of our own, Serve's too; where that takes too long, by force, with this exit code."""

    def force() -> None:
        hurry()
        os._exit(code)

    late = threading.Timer(SHUTDOWN_S, force)
    late.daemon = True
    late.start()
    ray.shutdown()
    late.cancel()


def start_ray_or_stop(run: Run) -> str | None:
    """The dashboard's URL, where there is one. Raises Stopped where SIGTERM came while Ray's own handler was in place."""
    try:
        return start_ray(run.own, run.console.forward)
    except SystemExit as e:
        raise Stopped from e


def announce(run: Run, config: Resolved, dashboard: str | None) -> None:
    if warning := open_to_all(config):
        run.console.say(warning, "WARNING")
    rows = summary(config, loaded_engines(), dashboard, time.monotonic() - run.began)
    run.console.say(ready_sentence(config), rows=rows)
    notify("READY=1")


def wait_for_stop(run: Run, config: Resolved) -> Resolved:
    """Change the service at each SIGHUP; return its config as it is when a stop is asked for. Raises RayDied."""
    signals = run.signals

    def forced(why: BaseException) -> None:
        if isinstance(why, RayDied):  # a stop waits until the change can be left
            give_up(why)

    while not signals.stop.wait(RAY_CHECK_S):
        check_ray(run.external_cluster)
        if signals.change.is_set():
            signals.change.clear()
            notify("RELOADING=1")
            with suppress(Stopped), interrupted_by(signals.raise_if_stopped, run.check_ray, forced=forced):
                config = changed(run.load, config, run.external_cluster, run.console)
            notify("READY=1")
    return config


def stop(run: Run, config: Resolved) -> int:
    """Answer the running requests; return how many were not answered in time. Raises RayDied."""
    run.console.say("whisper_serve is stopping: running requests finish first")
    notify("STOPPING=1")
    settings = DrainSettings(config.server.drain_delay_s, config.server.drain_timeout_s)
    with interrupted_by(run.check_ray, forced=give_up):
        lost = drain(APP, settings)
        if run.external_cluster:
            serve.delete(APP, _blocking=not lost)
        else:
            drain_proxies()
    if lost:
        run.console.say(f"{lost} requests still ran after {settings.timeout_s:g} s and are lost", "ERROR")
    return lost


def end_leftovers(console: Console) -> None:
    """End the processes of an earlier run whose main.py was killed: they would hold the port, and memory."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # zombies of a Ray that died under this very process
            pass
    found = orphans()
    if found:
        console.say(f"a run whose main.py was killed left {len(found)} processes; they are ended now")
        end(orphans, grace_s=0)
    if others := foreign_orphans():
        console.say(
            f"{len(others)} processes of a service that was started in another folder, and whose main.py was killed, are "
            f"left alone: {', '.join(map(str, others))}"
        )


def check_tls(config: Resolved) -> None:
    for path in (config.security.tls_cert, config.security.tls_key):
        if path and not os.access(path, os.R_OK):
            raise ConfigError(f"cannot read {path}; security.tls_cert and tls_key name two PEM files")
