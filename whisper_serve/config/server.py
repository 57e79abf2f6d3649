"""Settings of the server: where it listens, how much it accepts, and from whom."""

import re
from ipaddress import ip_interface
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from whisper_serve.audio.decode_limits import DecodeLimits
from whisper_serve.config.defaults import MIN_DECODES, PATIENCE_S, per_device
from whisper_serve.config.text import Replacements
from whisper_serve.section import STRICT, Section, refusal

CALLER = re.compile(r"[\w.@-]{1,64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\sA-Z]+")
ANY_ORIGIN = ("*", "null")  # "null" is what browsers send for pages that are files


class Server(Section):
    host: str = Field("0.0.0.0", description="address the service listens on")  # noqa: S104
    port: int = Field(8000, ge=1, le=65535, description="port the service listens on")
    dedicated_cpu: bool = Field(
        True, description="reserve one whole CPU for the ingress (HTTP, decoding, voice activity detection)"
    )
    num_cpus: int | None = Field(
        None, ge=1, description="CPUs given to Ray on this machine; null: as many as it has"
    )
    num_ingress: int = Field(1, ge=1, description="ingress replicas")
    max_ingress_per_node: int | None = Field(
        None, ge=1, description="ingress replicas one node of a cluster may hold; null: any number"
    )
    max_upload_mb: float = Field(
        512, gt=0, description="largest request body accepted, in megabytes (1e6 bytes)"
    )
    max_urlencoded_mb: float = Field(
        1, gt=0, description="largest form in a request's body that is URL-encoded, in megabytes (1e6 bytes)"
    )
    max_url_kb: float = Field(16, gt=0, description="longest URL accepted, in kilobytes (1e3 bytes)")
    max_head_kb: float = Field(
        64,
        gt=0,
        description="largest head of a request (its URL and headers) accepted, in kilobytes (1e3 bytes)",
    )
    max_headers: int = Field(100, ge=1, description="headers that a request may have")
    head_timeout_s: float = Field(
        30,
        gt=0,
        description="time in which the head of a request, or the first one of a connection, must have come",
    )
    body_timeout_s: float = Field(
        30, gt=0, description="time in which each further kilobyte of a request's body must have come"
    )
    max_audio_s: float = Field(
        4 * 3600,
        gt=0,
        description="longest recording accepted, in seconds; its channels count one by one where they are "
        "transcribed separately",
    )
    max_channels: int = Field(
        8, ge=1, le=64, description="most channels of a recording that channels=separate transcribes"
    )
    max_parallel_windows: int | None = Field(
        None,
        ge=1,
        description="windows of one request that may be with the replicas at once, so that long recordings "
        f"leave room for short ones; {per_device('parallel_windows', ' for each replica')}",
    )
    max_queued_audio_s: float | None = Field(
        None,
        gt=0,
        description="audio that may wait for a replica, in seconds, over all requests; more is refused with 429; "
        + per_device("queued_audio_s", " for each replica"),
    )
    max_inflight_audio_s: float = Field(
        4 * 3600,
        gt=0,
        description="decoded audio held in memory over all requests, in seconds of 64 kB each; recordings that are "
        "being decoded come on top",
    )
    max_inflight_upload_mb: float = Field(
        1024, gt=0, description="request bodies held over all requests, in megabytes (1e6 bytes)"
    )
    max_decodes: int | None = Field(
        None,
        ge=1,
        description="recordings an ingress decodes at once, each in a process that is kept warm; null: half the CPUs, "
        f"at least {MIN_DECODES}",
    )
    max_long_decodes: int = Field(
        8,
        ge=0,
        description="recordings decoded beyond those, because they have taken more than "
        f"{PATIENCE_S:g} s: short ones need not wait for them",
    )
    request_timeout_s: float = Field(
        300, gt=0, description="time a request may take, waiting included; its length adds to it"
    )
    request_timeout_per_audio_s: float = Field(
        2, ge=0, description="seconds added to that for each second of the request's audio"
    )
    sse_keepalive_s: float = Field(
        15,
        gt=0,
        description="longest pause in a stream of events, before a comment keeps its connection open",
    )
    dead_letter_dir: Path | None = Field(
        None, description="where windows that killed a model replica are kept; null: nowhere"
    )
    drain_delay_s: float = Field(
        0,
        ge=0,
        description="how long a stop still accepts new requests while /readyz says 503, so that load balancers "
        "have turned away before any is refused",
    )
    drain_timeout_s: float = Field(
        300,
        ge=0,
        description="how long a stop then waits for running requests; those that take longer are lost",
    )
    object_store_mb: float | None = Field(
        None,
        ge=80,
        description="shared memory that Ray may take for audio on its way to the replicas, in megabytes (1e6 bytes); "
        "null: twice what they may have outstanding, as far as /dev/shm has room",
    )
    proxy: Literal["python", "haproxy"] = Field(
        "python",
        description="Ray Serve's HTTP proxy; haproxy costs less per request, and opens two ports of statistics "
        "on every address",
    )
    metrics: bool = Field(
        True,
        description="collect metrics, and give the whole cluster's to Prometheus at GET /metrics",
    )
    dashboard: bool = Field(True, description="start Ray's dashboard")
    dashboard_host: str = Field(
        "127.0.0.1", description="address of Ray's dashboard; anyone who reaches it can run code"
    )
    dashboard_port: int = Field(
        8265, ge=1, le=65535, description="port of Ray's dashboard; the next free one if it is taken"
    )


@dataclass(frozen=True, slots=True, config=STRICT)
class Decoding(DecodeLimits):
    """Each field of DecodeLimits is a setting."""


class Key(Section):
    """An API key: whose it is, and how much that caller may ask for."""

    name: str = Field(description="the caller's name in the log: up to 64 letters, digits and . _ @ -")
    sha256: str = Field(description="SHA-256 of the key: 64 hexadecimal digits")
    requests_per_minute: float | None = Field(
        None, gt=0, description="requests accepted a minute; null: any number"
    )
    audio_s_per_day: float | None = Field(
        None, gt=0, description="audio accepted a day (UTC), in seconds; null: any amount"
    )
    replacements: Replacements = Field(
        {}, description="phrases and what is to be written instead in this caller's transcripts"
    )

    @field_validator("sha256")
    @classmethod
    def _lower_case(cls, digest: str) -> str:
        return digest.lower()

    @model_validator(mode="after")
    def _readable(self) -> "Key":
        if not CALLER.fullmatch(self.name):
            raise refusal("name", self.name, "it should have 1 to 64 letters, digits and . _ @ -")
        if not SHA256.fullmatch(self.sha256):  # it may be the key itself: not to be shown
            raise refusal(
                "sha256",
                f"{len(self.sha256)} characters long",
                "it should be the SHA-256 of the key, 64 digits from 0-9 and a-f, which "
                "printf '%s' \"$KEY\" | sha256sum prints",
            )
        return self


class Security(Section):
    keys: tuple[Key, ...] = Field(
        (),
        description="API keys, each with a name and the sha256 of the key, and if wanted requests_per_minute, "
        "audio_s_per_day and replacements; none: no key is needed",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description='web pages that may call the service, such as "https://example.org"; "*": all'
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description='addresses and networks, such as "10.0.0.0/8", of reverse proxies whose X-Forwarded-For and '
        "X-Forwarded-Proto are believed",
    )
    tls_cert: Path | None = Field(None, description="certificate chain (PEM) to serve HTTPS with")
    tls_key: Path | None = Field(None, description="the certificate's private key (PEM)")

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin not in ANY_ORIGIN and not ORIGIN.fullmatch(origin):
                likely = ORIGIN.match((origin if "://" in origin else f"https://{origin}").lower())
                hint = f'; did you mean "{likely[0]}"?' if likely else ""
                raise ValueError(
                    f'{origin!r} in it would match no page: an origin is scheme and host, such as "https://example.org", '
                    f"and a port where the address has one{hint}"
                )
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                given = ip_interface(proxy)
            except ValueError as e:
                raise ValueError(
                    f'{proxy!r} in it should be an address such as "10.0.0.1", or a network such as "10.0.0.0/8"'
                ) from e
            if given.ip != given.network.network_address:
                raise ValueError(f'{proxy!r} in it is not a network; did you mean "{given.network}"?')
        return proxies

    @model_validator(mode="after")
    def _consistent(self) -> "Security":
        names = [key.name for key in self.keys]
        if len(set(names)) < len(names):
            raise refusal("keys", names, "two keys have the same name")
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_cert"
            raise refusal(missing, None, "tls_cert and tls_key go together")
        return self
