"""API keys: whose key a request has, and whether that caller is within its rate."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from math import ceil

from starlette.datastructures import Headers

from whisper_serve.config.server import Key
from whisper_serve.errors import Overloaded, Unauthorized

BEARER = "bearer "
PROTOCOL = "openai-insecure-api-key."  # browsers cannot send headers with a WebSocket; OpenAI's way around it


@dataclass(slots=True)
class Bucket:
    """Requests a caller may still make; it fills up over a minute."""

    left: float
    since: float


class ApiKeys:
    """share: this ingress's part of every key's rate, where there are several."""

    def __init__(self, keys: Sequence[Key], share: float, now: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._share = share
        self._now = now
        self._buckets: dict[str, Bucket] = {}

    def caller(self, headers: Headers) -> str:
        """The caller's name. Raises Unauthorized without a known key, Overloaded above its rate."""
        digest = sha256(key_of(headers).encode()).hexdigest()
        known = [
            key for key in self._keys if compare_digest(key.sha256, digest)
        ]  # all of them: constant time
        if not known:
            raise Unauthorized("an API key is needed: send Authorization: Bearer <key>, or X-API-Key: <key>")
        self._take(known[0])
        return known[0].name

    def _take(self, key: Key) -> None:
        if key.requests_per_minute is None:
            return
        now, most = self._now(), max(1.0, key.requests_per_minute * self._share)
        bucket = self._buckets.setdefault(key.name, Bucket(most, now))
        bucket.left = min(most, bucket.left + (now - bucket.since) * most / 60)
        bucket.since = now
        if bucket.left < 1:
            wait = ceil((1 - bucket.left) * 60 / most)
            raise Overloaded(f"this key may make {key.requests_per_minute:g} requests a minute", wait)
        bucket.left -= 1


def key_of(headers: Headers) -> str:
    """The key, from any header in which clients send it; empty if there is none."""
    authorization = headers.get("authorization", "")
    if authorization.lower().startswith(BEARER):
        return authorization[len(BEARER) :].strip()
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(PROTOCOL):
            return protocol.strip()[len(PROTOCOL) :]
    return headers.get("x-api-key", "")
