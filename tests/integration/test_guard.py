"""Doors that must stay shut, and those that stay open: keys, rates, floods and browsers, over ASGI."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import httpx
import pytest

from tests.conftest import fake_config, fake_infer, served, wav
from tests.support.openai_schema import check
from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.config.resolve import Resolved
from whisper_serve.transcription.admission import Admission, Bounds
from whisper_serve.transcription.temperature_fallback import Infer
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import Window, WindowResult

pytestmark = pytest.mark.anyio

OPENAI, SEED = "/v1/audio/transcriptions", "/transcribe"
FIELD = {OPENAI: "file", SEED: "audio_file", "/transcribe/stream": "audio_file", "/asr": "audio_file"}
SECRET = "correct horse battery staple"
SHUT = [("POST", path) for path in (*FIELD, "/v1/audio/translations", "/detect-language")] + [
    ("GET", path)
    for path in ("/v1/models", "/v1/models/base", "/capabilities", "/docs", "/openapi.json", "/nowhere")
]


def key(name: str = "ada", secret: str = SECRET, **more: Any) -> dict[str, Any]:
    return {"name": name, "sha256": sha256(secret.encode()).hexdigest()} | more


@asynccontextmanager
async def bounded(
    config: Resolved, bounds: Bounds, infer: Infer = fake_infer
) -> AsyncIterator[tuple[httpx.AsyncClient, Admission]]:
    async def ready() -> bool:
        return True

    admission = Admission(bounds)
    api = create_api(Service(config, Transcriber(config, infer, admission), ready))
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client, admission


async def post(
    client: httpx.AsyncClient, path: str = SEED, seconds: float = 1, shown: dict[str, str] | None = None
) -> httpx.Response:
    return await client.post(path, files={FIELD[path]: ("a.wav", wav(seconds))}, headers=shown)


@pytest.fixture
def config() -> Resolved:
    return fake_config(security={"keys": [key(), key("bob", "another")]})


@pytest.mark.parametrize(("method", "path"), SHUT)
@pytest.mark.parametrize("shown", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": ""}], ids=str)
async def test_without_a_known_key_a_door_stays_shut(
    client: httpx.AsyncClient, method: str, path: str, shown: dict[str, str]
) -> None:
    answer = await client.request(method, path, headers=shown)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    if path.startswith("/v1/"):
        check("error", answer.json())
        assert answer.json()["error"]["code"] == "invalid_api_key"
    else:
        assert answer.json()["success"] is False
    assert "API key" in answer.text


@pytest.mark.parametrize("path", ["/health", "/healthz", "/readyz"])
async def test_watchers_need_no_key(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/health/", "/healthz/../docs", "//health", "/HEALTH"])
async def test_a_path_that_looks_like_an_open_one_is_shut(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code in (401, 404)


@pytest.mark.parametrize("path", FIELD)
@pytest.mark.parametrize(
    "shown",
    [
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"bearer  {SECRET}"},
        {"x-api-key": SECRET},
        {"x-api-key": "another"},
    ],
    ids=str,
)
async def test_a_known_key_opens(client: httpx.AsyncClient, path: str, shown: dict[str, str]) -> None:
    answer = await post(client, path, shown=shown)
    assert answer.status_code == 200, answer.text


async def test_a_refused_upload_is_not_read(client: httpx.AsyncClient) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    assert (await client.post(SEED, content=never())).status_code == 401


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


async def test_a_key_may_ask_only_as_often_as_it_says() -> None:
    config = fake_config(security={"keys": [key(requests_per_minute=2), key("bob", "another")]})
    async with served(config, fake_infer) as client:
        codes = [(await post(client, OPENAI, shown={"x-api-key": SECRET})).status_code for _ in range(3)]
        refused = await post(client, OPENAI, shown={"x-api-key": SECRET})
        other = await post(client, OPENAI, shown={"x-api-key": "another"})
    assert codes == [200, 200, 429]
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert other.status_code == 200


async def test_a_key_may_have_only_so_much_heard_in_a_day() -> None:
    config = fake_config(security={"keys": [key()]})
    async with bounded(config, Bounds(quotas_s={"ada": 3})) as (client, _):
        answers = [await post(client, seconds=2, shown={"x-api-key": SECRET}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert "of your 3 s of audio a day 1 s are left" in answers[1].json()["error"]


@pytest.mark.parametrize("path", [OPENAI, SEED])
async def test_a_full_queue_is_429_with_whole_seconds_to_wait_in_the_dialect_s_shape(path: str) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def infer(window: Window) -> WindowResult:
        started.set()
        await go_on.wait()
        return await fake_infer(window)

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
    started, go_on = asyncio.Event(), asyncio.Event()

    async def infer(window: Window) -> WindowResult:
        started.set()
        await go_on.wait()
        return await fake_infer(window)

    async with bounded(fake_config(), Bounds(upload_bytes=100_000), infer) as (client, _):
        first = asyncio.create_task(post(client, seconds=2))
        await asyncio.wait_for(started.wait(), 10)
        refused = await post(client, seconds=2)
        go_on.set()
        assert (await first).status_code == 200
    assert refused.status_code == 429
    assert "uploads" in refused.json()["error"]


@pytest.mark.parametrize("path", [OPENAI, SEED])
async def test_a_request_whose_time_is_up_is_504_and_not_to_be_tried_again(path: str) -> None:
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


async def test_only_pages_of_the_list_may_call_from_a_browser() -> None:
    config = fake_config(security={"keys": [key()], "cors_origins": ["https://good.example"]})
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with served(config, fake_infer) as client:
        good = await client.options(SEED, headers=asked | {"origin": "https://good.example"})
        bad = await client.options(SEED, headers=asked | {"origin": "https://bad.example"})
    assert (good.status_code, good.headers["access-control-allow-origin"]) == (200, "https://good.example")
    assert "access-control-allow-origin" not in bad.headers


async def test_browsers_are_told_not_to_guess_frame_or_tell(client: httpx.AsyncClient) -> None:
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
            shut = with_keys and path not in ("/health", "/healthz", "/readyz")
            assert ("401" in operation["responses"]) == ("security" in operation) == shut, path
