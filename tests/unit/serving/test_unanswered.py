"""What the proxy answers where an ingress left a request without an answer."""

import json
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.openai_schema import check
from whisper_serve.api import DIALECTS
from whisper_serve.api.stand_in import fixed_bodies, stand_in
from whisper_serve.serving.unanswered import AnswerUnanswered, load_stand_in

pytestmark = pytest.mark.anyio

NATIVE = {"success", "text", "latency", "word_count", "gpu_memory", "error"}


async def dies(scope: Scope, receive: Receive, send: Send) -> None:
    """As Ray Serve's proxy where the replica died: it reads what comes, and returns without an answer."""
    await receive()


async def post(app: ASGIApp, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(AnswerUnanswered(app, lambda: stand_in))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post(path, content=b"sound", headers={"x-request-id": "request-1"})


@pytest.mark.parametrize("path", ["/transcribe", "/transcribe/stream", "/asr", "/v1/audio/transcriptions"])
async def test_a_request_without_an_answer_gets_503_in_its_dialect(path: str) -> None:
    answer = await post(dies, path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (answer.headers["x-request-id"], answer.headers["x-frame-options"]) == ("request-1", "DENY")
    assert "x-should-retry" not in answer.headers
    body = answer.json()
    if path.startswith("/v1/"):
        check("error", body)
        assert body["error"]["type"] == "server_error"
    else:
        assert body.keys() == NATIVE
        assert 0 < body["latency"] < 60
    assert "try again" in answer.text


async def test_an_answer_is_passed_on_as_it_is() -> None:
    answer = await post(PlainTextResponse("the ingress's own", 500), "/transcribe")
    assert (answer.status_code, answer.text) == (500, "the ingress's own")


async def calls(app: ASGIApp, kind: str, *messages: dict[str, Any]) -> tuple[list[Any], int]:
    """What is sent to a caller who sends these messages, and how often the stand-in is loaded."""
    coming, sent, loads = iter(messages), [], []

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message)

    def load() -> ASGIApp:
        loads.append(1)
        return stand_in

    await AnswerUnanswered(app, load)({"type": kind, "path": "/", "headers": []}, receive, send)
    return sent, len(loads)


async def test_a_caller_who_left_is_not_answered() -> None:
    assert await calls(dies, "http", {"type": "http.disconnect"}) == ([], 0)


async def test_an_answer_that_breaks_off_gets_nothing_added() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": []}

    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)

    assert await calls(breaks_off, "http") == ([start], 0)


async def test_a_websocket_is_left_alone() -> None:
    assert await calls(dies, "websocket", {"type": "websocket.connect"}) == ([], 0)


@pytest.mark.parametrize("path", [route.path for dialect in DIALECTS for route in dialect.routes])
async def test_a_proxy_without_our_code_is_given_the_same_bodies(path: str) -> None:
    begins = max((begin for begin in fixed_bodies() if path.startswith(begin)), key=len)
    fixed, answered = json.loads(fixed_bodies()[begins]), (await post(dies, path)).json()
    assert fixed | {"latency": 0} == answered | {"latency": 0}


def test_the_middleware_loads_the_api_s_stand_in() -> None:
    assert load_stand_in() is stand_in
