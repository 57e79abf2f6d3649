"""Server-sent events of both dialects over ASGI."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.conftest import fake_config, fake_infer, served, wav
from tests.support.openai_schema import check
from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.errors import ModelFailed
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import Segment, Window, WindowResult

pytestmark = pytest.mark.anyio

OPENAI, SEED = "/v1/audio/transcriptions", "/transcribe/stream"
FILE_FIELD = {OPENAI: "file", SEED: "audio_file"}
LONG = wav(70)


async def post(client: httpx.AsyncClient, path: str, data: bytes = LONG, **fields: str) -> httpx.Response:
    return await client.post(
        path, files={FILE_FIELD[path]: ("a.wav", data)}, data={"stream": "true"} | fields
    )


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    *frames, end = answer.text.split("\n\n")
    assert end == ""
    assert all(frame.startswith("data: {") and "\n" not in frame for frame in frames)
    return [json.loads(frame[6:]) for frame in frames]


async def test_openai_s_deltas_joined_are_the_text(client: httpx.AsyncClient) -> None:
    *deltas, done = events(await post(client, OPENAI))
    for delta in deltas:
        check("delta", delta)
    check("done", done)
    assert len(deltas) >= 3
    assert "".join(delta["delta"] for delta in deltas) == done["text"]
    whole = await post(client, OPENAI, stream="false")
    assert whole.json()["text"] == done["text"]
    assert done["usage"]["seconds"] == 70.0


async def test_deltas_carry_blanks_so_that_they_join(client: httpx.AsyncClient) -> None:
    texts = iter([" \n", "  One ", "", " two. ", " "])

    async def infer(window: Window) -> WindowResult:
        return WindowResult((Segment(0, 1, next(texts, "")),), "en")

    async with served(fake_config(), infer) as client:
        *deltas, done = events(await post(client, OPENAI, wav(140), use_parallel="false"))
    assert [delta["delta"] for delta in deltas] == ["One", "  two."]
    assert done["text"] == "One  two."


async def test_the_seed_s_events_end_with_its_answer(client: httpx.AsyncClient) -> None:
    *parts, last = events(await post(client, SEED))
    assert "".join(part["text"] for part in parts) == last["text"]
    shares = [part["done"] for part in parts]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert set(last) == {"success", "text", "latency", "word_count", "gpu_memory", "error"}
    assert last["success"] is True


async def test_the_seed_s_events_have_words_when_asked_for(client: httpx.AsyncClient) -> None:
    *parts, last = events(await post(client, SEED, word_timestamps="true"))
    assert [s for part in parts for s in part["segments"]] == last["segments"]


@pytest.mark.parametrize("path", [OPENAI, SEED])
@pytest.mark.parametrize(("data", "prompt", "status"), [(b"not audio", "", 400), (wav(1), "explode", 500)])
async def test_an_error_before_the_first_event_is_a_plain_answer(
    client: httpx.AsyncClient, path: str, data: bytes, prompt: str, status: int
) -> None:
    answer = await post(client, path, data, prompt=prompt)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]


async def test_an_error_after_the_first_event_is_one_last_frame() -> None:
    async def infer(window: Window) -> WindowResult:
        if window.start > 0:
            raise ModelFailed("broke")
        return await fake_infer(window)

    async with served(fake_config(), infer) as client:
        *deltas, last = events(await post(client, OPENAI))
        *parts, seed = events(await post(client, SEED))
    assert len(deltas) == len(parts) == 1
    check("error", last)
    assert "broke" in last["error"]["message"]
    assert (seed["success"], seed["text"]) == (False, "")
    assert "broke" in seed["error"]


async def test_an_unforeseen_error_is_a_frame_without_its_words() -> None:
    async def infer(window: Window) -> WindowResult:
        if window.start > 0:
            raise KeyError("secret")
        return await fake_infer(window)

    async with served(fake_config(), infer) as client:
        *_, last = events(await post(client, OPENAI))
    assert last["error"]["type"] == "server_error"
    assert "secret" not in last["error"]["message"]


@pytest.mark.parametrize("path", [OPENAI, SEED])
async def test_when_the_caller_leaves_its_windows_are_cancelled(path: str) -> None:
    started, cancelled, first = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def infer(window: Window) -> WindowResult:
        if window.start == 0:
            return await fake_infer(window)
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    async def ready() -> bool:
        return True

    request = httpx.Request(
        "POST", f"http://test{path}", files={FILE_FIELD[path]: ("a", LONG)}, data={"stream": "true"}
    )
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode()) for k, v in request.headers.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.read(), "more_body": False}

    async def send(message: Any) -> None:
        if message.get("body"):
            first.set()

    config = fake_config()
    api = create_api(Service(config, Transcriber(config, infer), ready))
    serving = asyncio.create_task(api(scope, receive, send))
    await asyncio.wait_for(first.wait(), 10)
    await asyncio.wait_for(started.wait(), 10)
    serving.cancel()  # as Ray Serve does when a client disconnects
    with pytest.raises(asyncio.CancelledError):
        await serving
    await asyncio.wait_for(cancelled.wait(), 10)


async def test_allow_partial_answers_what_could_be_heard_and_names_the_holes() -> None:
    async def infer(window: Window) -> WindowResult:
        if window.start > 40:
            raise ModelFailed("broke")
        return await fake_infer(window)

    async with served(fake_config(), infer) as client:
        answer = await client.post(
            "/transcribe", files={"audio_file": ("a", LONG)}, data={"allow_partial": "true"}
        )
        refused = await client.post("/transcribe", files={"audio_file": ("a", LONG)})
    body = answer.json()
    assert (answer.status_code, refused.status_code) == (200, 500)
    assert 0 < body["success_rate"] < 1
    assert body["gaps"][-1]["end"] == 70.0
    assert body["gaps"][-1]["error"] == "broke"
    assert body["dropped"] == []
    assert body["text"].startswith("2")
