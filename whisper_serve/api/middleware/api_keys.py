"""API keys: whose key a request has, and whether that caller is within its rate."""

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from math import ceil

from starlette.datastructures import Headers

from whisper_serve.config.server import Key
from whisper_serve.errors import Overloaded, Unauthorized
from whisper_serve.telemetry.logs import audit
from whisper_serve.transcription.usage import AsksUsage

BEARER = "bearer "
PROTOCOL = "openai-insecure-api-key."  # browsers cannot send headers with a WebSocket; OpenAI's way around it


class ApiKeys:
    """usage: counts the requests of each key."""

    def __init__(self, keys: Sequence[Key], usage: AsksUsage) -> None:
        self._keys = keys
        self._usage = usage

    def find(self, headers: Headers) -> Key:
        """The key of a request. Raises Unauthorized where it has none, or an unknown one."""
        sent = key_of(headers)
        if not sent:
            raise Unauthorized("an API key is needed: send Authorization: Bearer <key>, or X-API-Key: <key>")
        digest = sha256(sent.encode()).hexdigest()
        # All of them are compared, so that the time tells nothing.
        known = [key for key in self._keys if compare_digest(key.sha256, digest)]
        if not known:
            raise Unauthorized("this API key is not known here: it is mistyped, or was withdrawn")
        return known[0]

    async def take(self, key: Key) -> None:
        """Count a request. Raises Overloaded above the key's rate."""
        if key.requests_per_minute is None:
            return
        wait_s = await self._usage.take_request(key.name, key.requests_per_minute)
        if wait_s:
            audit("limit reached", caller=key.name, limit="requests_per_minute")
            raise Overloaded(f"this key may make {key.requests_per_minute:g} requests a minute", ceil(wait_s))


def key_of(headers: Headers) -> str:
    """The key, from any header in which clients send it; empty if there is none."""
    authorization = headers.get("authorization", "")
    if authorization.lower().startswith(BEARER):
        return authorization[len(BEARER) :].strip()
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(PROTOCOL):
            return protocol.strip()[len(PROTOCOL) :]
    return headers.get("x-api-key", "")
