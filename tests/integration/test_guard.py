"""Keys, rates, full queues, proxies and browsers, over ASGI."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request

from tests.conftest import fake_config, fake_infer, served, wav
from tests.support.openai_schema import check
from whisper_serve.api import KEYLESS, create_api
from whisper_serve.api.deps import Service
from whisper_serve.api.middleware.access_log import SECURITY_HEADERS
from whisper_serve.config.resolve import Resolved
from whisper_serve.telemetry.logs import set_up_logging
from whisper_serve.telemetry.settings import Logging
from whisper_serve.transcription.admission import Admission, Bounds
from whisper_serve.transcription.temperature_fallback import Infer
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import Window, WindowResult

pytestmark = pytest.mark.anyio

OPENAI, NATIVE = "/v1/audio/transcriptions", "/transcribe"
FIELD = {OPENAI: "file", NATIVE: "audio_file", "/transcribe/stream": "audio_file", "/asr": "audio_file"}
SECRET = "correct horse battery staple"
NEEDING_A_KEY = [("POST", path) for path in (*FIELD, "/v1/audio/translations", "/detect-language")] + [
    ("GET", path)
    for path in ("/v1/models", "/v1/models/base", "/capabilities", "/metrics", "/v1/nowhere/", "/nowhere")
]


def key(name: str = "ada", secret: str = SECRET, **more: Any) -> dict[str, Any]:
    return {"name": name, "sha256": sha256(secret.encode()).hexdigest()} | more


@asynccontextmanager
async def bounded(
    config: Resolved, bounds: Bounds, infer: Infer = fake_infer, peer: str = "127.0.0.1"
) -> AsyncIterator[tuple[httpx.AsyncClient, Admission]]:
    async def ready() -> bool:
        return True

    admission = Admission(bounds)
    api = create_api(Service(config, Transcriber(config, infer, admission), ready))
    transport = httpx.ASGITransport(api, raise_app_exceptions=False, client=(peer, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client, admission


async def post(
    client: httpx.AsyncClient, path: str = NATIVE, seconds: float = 1, headers: dict[str, str] | None = None
) -> httpx.Response:
    return await client.post(path, files={FIELD[path]: ("a.wav", wav(seconds))}, headers=headers)


@pytest.fixture
def config() -> Resolved:
    return fake_config(security={"keys": [key(), key("bob", "another")]})


@pytest.mark.parametrize(("method", "path"), NEEDING_A_KEY)
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": ""}], ids=str)
async def test_without_a_known_key_the_answer_is_401(
    client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = await client.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    if path.startswith("/v1/"):
        check("error", answer.json())
        assert answer.json()["error"]["code"] == "invalid_api_key"
    else:
        assert answer.json()["success"] is False
    assert "API key" in answer.text


@pytest.mark.parametrize("path", ["/health", "/healthz", "/readyz"])
async def test_health_checks_need_no_key(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/health/x", "/healthz/../metrics", "http://test//health", "/HEALTH", "/docs/x"]
)
async def test_a_path_that_resembles_a_keyless_one_needs_a_key(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code in (401, 404)


@pytest.mark.parametrize("path", FIELD)
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"bearer  {SECRET}"},
        {"x-api-key": SECRET},
        {"x-api-key": "another"},
    ],
    ids=str,
)
async def test_a_known_key_is_accepted(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> None:
    answer = await post(client, path, headers=headers)
    assert answer.status_code == 200, answer.text


async def test_a_refused_upload_is_not_read(client: httpx.AsyncClient) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    assert (await client.post(NATIVE, content=never())).status_code == 401


async def test_a_websocket_without_a_key_is_closed(config: Resolved) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ready() -> bool:
        return True

    api = create_api(Service(config, Transcriber(config, fake_infer), ready))
    scope = {"type": "websocket", "path": "/live", "query_string": b"", "headers": [], "subprotocols": []}
    await api(scope, receive, send)
    assert [(m["type"], m["code"]) for m in sent] == [("websocket.close", 1008)]


async def test_a_key_s_rate_is_bounded() -> None:
    config = fake_config(security={"keys": [key(requests_per_minute=2), key("bob", "another")]})
    async with served(config, fake_infer) as client:
        codes = [(await post(client, OPENAI, headers={"x-api-key": SECRET})).status_code for _ in range(3)]
        refused = await post(client, OPENAI, headers={"x-api-key": SECRET})
        other = await post(client, OPENAI, headers={"x-api-key": "another"})
    assert codes == [200, 200, 429]
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert other.status_code == 200


async def test_a_key_s_audio_a_day_is_bounded() -> None:
    config = fake_config(security={"keys": [key()]})
    async with bounded(config, Bounds(quotas_s={"ada": 3})) as (client, _):
        answers = [await post(client, seconds=2, headers={"x-api-key": SECRET}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert "of your 3 s of audio a day 1 s are left" in answers[1].json()["error"]


async def test_a_used_up_quota_is_told_as_openai_does_and_leaves_the_rate_as_it_is() -> None:
    config = fake_config(security={"keys": [key(requests_per_minute=2)]})
    async with bounded(config, Bounds(quotas_s={"ada": 1})) as (client, _):
        answers = [await post(client, OPENAI, headers={"x-api-key": SECRET}) for _ in range(4)]
        models = await client.get("/v1/models", headers={"x-api-key": SECRET})
    assert [answer.status_code for answer in answers] == [200, 429, 429, 429]
    for answer in answers[1:]:
        check("error", answer.json())
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert answer.headers["x-should-retry"] == "false"
        assert int(answer.headers["retry-after"]) > 0
    assert models.status_code == 200  # the second request of this minute


async def test_a_wrong_key_is_not_asked_for_a_key(client: httpx.AsyncClient) -> None:
    wrong = await client.get("/v1/models", headers={"authorization": "Bearer wrong"})
    none = await client.get("/v1/models")
    assert "this API key is not known" in wrong.json()["error"]["message"]
    assert "an API key is needed" in none.json()["error"]["message"]


def held() -> tuple[asyncio.Event, asyncio.Event, Infer]:
    """An inference that says when it has begun, and goes on when told to."""
    started, go_on = asyncio.Event(), asyncio.Event()

    async def infer(window: Window) -> WindowResult:
        started.set()
        await go_on.wait()
        return await fake_infer(window)

    return started, go_on, infer


@pytest.mark.parametrize("path", [OPENAI, NATIVE])
async def test_a_full_queue_is_429_with_whole_seconds_to_wait_in_the_dialect_s_shape(path: str) -> None:
    started, go_on, infer = held()
    async with bounded(fake_config(), Bounds(queued_s=10), infer) as (client, admission):
        first = asyncio.create_task(post(client, seconds=9))
        await asyncio.wait_for(started.wait(), 10)
        refused = await post(client, path, seconds=2)
        go_on.set()
        assert (await first).status_code == 200
        assert (await post(client, path, seconds=2)).status_code == 200
        assert (admission.queued_s, admission.buffered_s, admission.uploading) == (0, 0, 0)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert "the queue is full: 9 s of audio wait" in refused.text
    if path == OPENAI:
        check("error", refused.json())
        assert refused.json()["error"]["type"] == "rate_limit_error"


async def test_uploads_together_are_bounded() -> None:
    started, go_on, infer = held()
    async with bounded(fake_config(), Bounds(upload_bytes=100_000), infer) as (client, _):
        first = asyncio.create_task(post(client, seconds=2))
        await asyncio.wait_for(started.wait(), 10)
        refused = await post(client, seconds=2)
        go_on.set()
        assert (await first).status_code == 200
    assert refused.status_code == 429
    assert "uploads" in refused.json()["error"]


@pytest.mark.parametrize("path", [OPENAI, NATIVE])
async def test_a_request_whose_time_is_up_is_504_and_asks_for_no_retry(path: str) -> None:
    cancelled = asyncio.Event()

    async def infer(window: Window) -> WindowResult:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    config = fake_config(server={"request_timeout_s": 0.2, "request_timeout_per_audio_s": 0})
    async with served(config, infer) as client:
        answer = await post(client, path)
    assert answer.status_code == 504
    assert answer.headers["x-should-retry"] == "false"
    assert cancelled.is_set()


async def test_a_longer_recording_has_more_time() -> None:
    async def infer(window: Window) -> WindowResult:
        await asyncio.sleep(0.3)
        return await fake_infer(window)

    config = fake_config(server={"request_timeout_s": 0.1, "request_timeout_per_audio_s": 1})
    async with served(config, infer) as client:
        assert (await post(client, seconds=2)).status_code == 200


async def caller_of(peer: str, trusted: list[str], headers: list[tuple[str, str]]) -> set[str]:
    """Under which names the queue has the audio."""
    callers: set[str] = set()

    async def infer(window: Window) -> WindowResult:
        callers.update(admission.waiting)
        return await fake_infer(window)

    config = fake_config(security={"trusted_proxies": trusted})
    async with bounded(config, Bounds(), infer, peer) as (client, admission):
        answer = await client.post(NATIVE, files={"audio_file": ("a.wav", wav(1))}, headers=headers)
    assert answer.status_code == 200
    return callers


@pytest.mark.parametrize(
    "trusted", [["10.0.0.1", "10.0.0.2"], ["10.0.0.0/30"], ["192.168.0.0/16", "10.0.0.0/8"]]
)
@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("1.2.3.4", [], "1.2.3.4"),
        ("1.2.3.4", ["9.9.9.9"], "1.2.3.4"),  # anyone can send the header
        ("10.0.0.1", ["9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", ["6.6.6.6, 9.9.9.9, 10.0.0.2"], "9.9.9.9"),
        ("10.0.0.1", ["6.6.6.6", "9.9.9.9, 10.0.0.2"], "9.9.9.9"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::/64"),
        ("10.0.0.1", ["9.9.9.9:4711"], "9.9.9.9"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
async def test_the_caller_is_the_nearest_hop_that_is_no_trusted_proxy(
    trusted: list[str], peer: str, forwarded: list[str], caller: str
) -> None:
    headers = [("x-forwarded-for", value) for value in forwarded]
    assert await caller_of(peer, trusted, headers) == {caller}


async def test_without_trusted_proxies_no_forwarded_address_is_believed() -> None:
    assert await caller_of("10.0.0.1", [], [("x-forwarded-for", "9.9.9.9")]) == {"10.0.0.1"}


@pytest.mark.parametrize(("peer", "scheme"), [("10.1.2.3", "https"), ("1.2.3.4", "http")])
async def test_the_scheme_is_what_a_trusted_proxy_says(peer: str, scheme: str) -> None:
    config = fake_config(security={"trusted_proxies": ["10.0.0.0/8"]})
    schemes: list[str] = []

    async def ready() -> bool:
        return True

    api = create_api(Service(config, Transcriber(config, fake_infer), ready))

    async def scheme_of(request: Request) -> None:
        schemes.append(request.url.scheme)

    api.add_api_route("/scheme", scheme_of)
    transport = httpx.ASGITransport(api, client=(peer, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/scheme", headers={"x-forwarded-proto": "https"})
    assert schemes == [scheme]


async def test_only_listed_web_pages_may_call_from_a_browser() -> None:
    config = fake_config(security={"keys": [key()], "cors_origins": ["https://good.example"]})
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with served(config, fake_infer) as client:
        good = await client.options(NATIVE, headers=preflight | {"origin": "https://good.example"})
        bad = await client.options(NATIVE, headers=preflight | {"origin": "https://bad.example"})
    assert (good.status_code, good.headers["access-control-allow-origin"]) == (200, "https://good.example")
    assert "access-control-allow-origin" not in bad.headers


@pytest.mark.parametrize("secret", [SECRET, "wrong"])
async def test_web_pages_may_read_the_headers_that_the_service_adds(secret: str) -> None:
    config = fake_config(security={"keys": [key()], "cors_origins": ["https://good.example"]})
    headers = {"origin": "https://good.example", "x-api-key": secret}
    async with served(config, fake_infer) as client:
        answer = await post(client, headers=headers)
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    added = {name for name in answer.headers if name.startswith("x-")} - {*SECURITY_HEADERS}
    assert added <= exposed
    assert {"retry-after", "x-should-retry", "x-warning", "x-queue-ms"} <= exposed


async def test_answers_have_the_security_headers(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/healthz")).headers
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("with_keys", [True, False])
async def test_the_schema_promises_401_where_a_key_is_needed(with_keys: bool) -> None:
    security = {"keys": [key()]} if with_keys else {}
    async with served(fake_config(security=security), fake_infer) as client:
        schema = (await client.get("/openapi.json", headers={"x-api-key": SECRET})).json()
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            needs_key = with_keys and path not in KEYLESS
            assert ("401" in operation["responses"]) == ("security" in operation) == needs_key, path


async def test_refused_keys_and_limits_that_were_reached_are_audited(tmp_path: Path) -> None:
    audit_file = tmp_path / "audit.log"
    set_up_logging(Logging(file=None, audit_file=str(audit_file)))
    keys = [key(requests_per_minute=1), key("bob", "bobs", audio_s_per_day=5)]
    bounds = Bounds(quotas_s={"bob": 5.0})
    try:
        async with bounded(fake_config(security={"keys": keys}), bounds) as (client, _):
            await post(client, headers={"authorization": "Bearer wrong"})
            for _ in range(2):
                await post(client, headers={"authorization": f"Bearer {SECRET}"})
            await post(client, seconds=9, headers={"authorization": "Bearer bobs"})
    finally:
        set_up_logging(Logging(file=None))
    lines = [json.loads(line) for line in audit_file.read_text().splitlines()]
    assert [(line["message"], line.get("caller"), line.get("limit")) for line in lines] == [
        ("key refused", None, None),
        ("limit reached", "ada", "requests_per_minute"),
        ("limit reached", "bob", "audio_s_per_day"),
    ]
    assert {line["request_id"] for line in lines} != {""}
    assert SECRET not in audit_file.read_text()
