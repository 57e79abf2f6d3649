"""Deploys the application on Ray Serve, and changes it to another configuration while it runs."""

from collections.abc import Callable
from operator import attrgetter

from ray import serve
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.schema import LoggingConfig

from whisper_serve.app import build_app
from whisper_serve.config.load import Config, Sections
from whisper_serve.config.resolve import Resolved, fetch_weights, resolve
from whisper_serve.errors import ConfigError, StartError
from whisper_serve.host.hardware import this_machine
from whisper_serve.serving.ray_cluster import serve_environment, the_cluster
from whisper_serve.telemetry.console import Console
from whisper_serve.telemetry.logs import audit
from whisper_serve.weights.progress import ProgressBar

APP = "default"
ENGINE_TIMEOUT_S = 5.0
QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)  # the service logs its own requests
FIXED = (  # settings that cannot change while the service runs
    "server.host",
    "server.port",
    "server.proxy",
    "server.max_url_kb",
    "server.max_head_kb",
    "server.max_headers",
    "server.head_timeout_s",
    "server.body_timeout_s",
    "server.dashboard",
    "server.object_store_mb",
    "security.tls_cert",
    "security.tls_key",
)

LoadConfig = Callable[[], Config]


def download_weights(config: Resolved) -> None:
    """Before Ray starts, so that its replicas find them, with a progress bar."""
    with ProgressBar() as bar:
        fetch_weights(config, bar.report)


def deploy(config: Resolved, external_cluster: bool) -> None:
    """Start the HTTP proxy and the two deployments; return when a replica has its model."""
    environment = {"runtime_env": {"env_vars": serve_environment(config.server)}}
    serve.start(
        proxy_location="EveryNode" if external_cluster else "HeadOnly",
        http_options=http_options(config),
        logging_config=QUIET,
        controller_options=environment if external_cluster else None,  # Ray of our own has it already
    )
    deploy_app(config)


def loaded_engines() -> str:
    """What the replicas transcribe with, such as "openvino"."""
    try:
        asked = serve.get_deployment_handle("Model", APP).broadcast("engine_name")
        names = asked.results(timeout_s=ENGINE_TIMEOUT_S, return_exceptions=True)
    except (DeploymentUnavailableError, TimeoutError):
        return "loaded with the first request"
    return ", ".join(sorted({name for name in names if isinstance(name, str)}))


def http_options(config: Resolved) -> dict[str, object]:
    server, security = config.server, config.security
    options: dict[str, object] = {"host": server.host, "port": server.port}
    if security.tls_cert:
        options |= {"ssl_certfile": str(security.tls_cert), "ssl_keyfile": str(security.tls_key)}
    return options


def deploy_app(config: Resolved) -> None:
    """Where it runs already, Serve replaces replicas whose config differs, a few at a time, and drains the old ones."""
    try:
        serve.run(build_app(config), name=APP, logging_config=QUIET)
    except RuntimeError as e:
        raise StartError(f"the service could not be deployed: {e}") from e


def changed(load: LoadConfig, config: Resolved, external_cluster: bool, console: Console) -> Resolved:
    """Change the running service to its config as it is now, replica by replica; where that fails, leave it as it is."""
    try:
        new = resolve(load(), the_cluster() if external_cluster else this_machine())
        check_change(config, new)
        if not external_cluster:  # a cluster's nodes download their own
            download_weights(new)
    except StartError as e:
        console.say(f"the configuration stays as it was: {e}", "ERROR")
        return config
    try:
        deploy_app(new)
    except StartError as e:
        console.say(f"the old configuration is put back: {e}", "ERROR")
        put_back(config, console)
        return config
    console.say("the configuration is changed")
    audit("configuration changed", settings=differing(config, new))
    return new


def differing(config: Resolved, new: Resolved) -> list[str]:
    """Names of the settings that differ, without their values, which may be secrets."""
    before, after = (one.model_dump(include={*Sections.model_fields}) for one in (config, new))
    return [
        f"{section}.{name}"
        for section, values in before.items()
        for name in values
        if values[name] != after[section][name]
    ]


def put_back(config: Resolved, console: Console) -> None:
    """Undo a change that Serve has begun: it would try for ever. Replicas that run go on in any case."""
    try:
        deploy_app(config)
    except StartError as e:
        console.say(f"that failed too: {e}", "ERROR")
    else:
        console.say("the configuration is as it was")


def check_change(config: Resolved, new: Resolved) -> None:
    """Raises ConfigError where Ray, or its proxy, would have to be started anew."""
    fixed = [name for name in FIXED if attrgetter(name)(config) != attrgetter(name)(new)]
    if config.limits.num_cpus != new.limits.num_cpus:
        fixed.append("server.num_cpus")
    if fixed:
        raise ConfigError(f"{', '.join(fixed)} can change only with a new start")
