"""Which key a request has, and how often it may be used."""

from hashlib import sha256

import pytest
from starlette.datastructures import Headers

from whisper_serve.api.middleware.api_keys import ApiKeys, key_of
from whisper_serve.config.server import Key
from whisper_serve.errors import Overloaded, Unauthorized
from whisper_serve.transcription.usage import OwnUsage, Usage

WITH_KEY = Headers({"x-api-key": "secret"})


def ada(**limits: float) -> Key:
    return Key(name="ada", sha256=sha256(b"secret").hexdigest(), **limits)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer secret"}, "secret"),
        ({"authorization": "bearer  secret "}, "secret"),
        ({"x-api-key": "secret"}, "secret"),
        ({"sec-websocket-protocol": "realtime, openai-insecure-api-key.secret"}, "secret"),
        ({"authorization": "Basic secret"}, ""),
        ({}, ""),
    ],
)
def test_a_key_is_found_in_any_header_in_which_clients_send_it(headers: dict[str, str], key: str) -> None:
    assert key_of(Headers(headers)) == key


def test_a_known_key_is_its_caller_and_no_other_is() -> None:
    keys = ApiKeys([ada()], OwnUsage())
    assert keys.find(WITH_KEY).name == "ada"
    with pytest.raises(Unauthorized, match="this API key is not known here"):
        keys.find(Headers({"x-api-key": "Secret"}))


def test_who_sends_no_key_is_told_how_to_send_one() -> None:
    with pytest.raises(Unauthorized, match="send Authorization: Bearer <key>"):
        ApiKeys([ada()], OwnUsage()).find(Headers({"authorization": "Basic c2VjcmV0"}))


@pytest.mark.anyio
async def test_a_rate_is_spent_and_comes_back_with_time() -> None:
    now = 0.0
    key = ada(requests_per_minute=2)
    keys = ApiKeys([key], OwnUsage(Usage(now=lambda: now)))
    for _ in range(2):
        await keys.take(key)
    with pytest.raises(Overloaded) as e:
        await keys.take(key)
    assert e.value.retry_after_s == 30
    now = 30.0
    await keys.take(key)


class NeverAsked:
    async def take_request(self, caller: str, per_minute: float) -> float:
        raise AssertionError("asked")

    async def take_audio(self, caller: str, seconds: float, per_day: float) -> float:
        raise AssertionError("asked")


@pytest.mark.anyio
async def test_for_a_key_without_a_rate_nothing_is_counted() -> None:
    await ApiKeys([], NeverAsked()).take(ada(audio_s_per_day=1))
