"""What a person is told when the service is ready: where it is, what it serves, and how to try it."""

from whisper_serve import __version__
from whisper_serve.config.resolve import Resolved
from whisper_serve.host.ports import is_any, is_loopback


def url(config: Resolved) -> str:
    host = "localhost" if is_any(config.server.host) else config.server.host
    return f"{'https' if config.security.tls_cert else 'http'}://{host}:{config.server.port}"


def ready_sentence(config: Resolved) -> str:
    return f"whisper_serve is ready: {url(config)}"


def summary(config: Resolved, engines: str, dashboard: str | None, took_s: float) -> dict[str, str]:
    """What is served, by its name. engines: those that the replicas have loaded."""
    deployment, keys = config.deployment, config.security.keys
    replicas = f"{deployment.fewest} to {deployment.most}" if deployment.autoscaling else str(deployment.most)
    key = f"one of {len(keys)}, see security.keys" if keys else "none needed"
    curl = f"curl {'--insecure ' if config.security.tls_cert else ''}"
    curl += '-H "Authorization: Bearer $KEY" ' if keys else ""
    return {
        "version": f"{__version__}, ready after {took_s:.0f} s",
        "model": f"{config.model.size} ({engines}) on {config.device}, replicas: {replicas}",
        "API key": key,
        "dashboard": f"http://{dashboard}" if dashboard else "off",
        "log": config.logging.file or "here only",
        "API": f"{url(config)}/docs",
        "try": f"{curl}-F audio_file=@recording.mp3 {url(config)}/transcribe",
    }


def open_to_all(config: Resolved) -> str | None:
    """The warning about a service that other machines reach without a key."""
    if config.security.keys or is_loopback(config.server.host):
        return None
    return (
        f"anyone who reaches port {config.server.port} of this machine can use the service: "
        'no security.keys are set. Set some, or server.host to "127.0.0.1".'
    )
