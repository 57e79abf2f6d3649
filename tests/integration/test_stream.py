"""Server-sent events of both dialects over ASGI."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
import pytest

from tests.conftest import fake_config, fake_infer, served, wav
from tests.support.openai_schema import check
from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.errors import ModelFailed
from whisper_serve.transcription.admission import Admission, Bounds
from whisper_serve.transcription.temperature_fallback import Infer
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import Segment, Window, WindowResult

pytestmark = pytest.mark.anyio

OPENAI, NATIVE = "/v1/audio/transcriptions", "/transcribe/stream"
FILE_FIELD = {OPENAI: "file", NATIVE: "audio_file"}
LONG = wav(70)
KEEP_ALIVE = b": keep-alive\n\n"
WAIT_S = 10


async def post(client: httpx.AsyncClient, path: str, data: bytes = LONG, **fields: str) -> httpx.Response:
    return await client.post(
        path, files={FILE_FIELD[path]: ("a.wav", data)}, data={"stream": "true"} | fields
    )


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    *frames, end = answer.text.split("\n\n")
    assert end == ""
    return [event_of(frame) for frame in frames]


def event_of(frame: str) -> dict[str, Any]:
    """The JSON of a frame; one of a `type` is named by it."""
    *names, data = frame.split("\n")
    event: dict[str, Any] = json.loads(data.removeprefix("data: "))
    assert names == ([f"event: {event['type']}"] if "type" in event else [])
    return event


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


async def test_the_end_of_openai_s_stream_has_the_segments_of_verbose_json(client: httpx.AsyncClient) -> None:
    whole = await post(client, OPENAI, stream="false", response_format="verbose_json")
    assert events(await post(client, OPENAI))[-1]["segments"] == whole.json()["segments"]


async def test_deltas_have_the_blanks_with_which_they_join(client: httpx.AsyncClient) -> None:
    texts = iter([" \n", "  One ", "", " two. ", " "])

    async def infer(window: Window) -> WindowResult:
        return WindowResult((Segment(0, 1, next(texts, "")),), "en")

    async with served(fake_config(), infer) as client:
        *deltas, done = events(await post(client, OPENAI, wav(140), use_parallel="false"))
    assert [delta["delta"] for delta in deltas] == ["One", "  two."]
    assert done["text"] == "One  two."


async def test_the_native_stream_ends_with_the_answer_of_transcribe(client: httpx.AsyncClient) -> None:
    *parts, last = events(await post(client, NATIVE))
    assert "".join(part["text"] for part in parts) == last["text"]
    shares = [part["done"] for part in parts]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert set(last) == {"success", "text", "latency", "word_count", "gpu_memory", "error"}
    assert last["success"] is True


async def test_native_events_have_words_on_request(client: httpx.AsyncClient) -> None:
    *parts, last = events(await post(client, NATIVE, word_timestamps="true"))
    assert [s for part in parts for s in part["segments"]] == last["segments"]


@pytest.mark.parametrize("path", [OPENAI, NATIVE])
@pytest.mark.parametrize(("data", "status"), [(b"not audio", 400), (wav(3), 413)])
async def test_a_recording_that_is_not_accepted_is_a_plain_answer(
    path: str, data: bytes, status: int
) -> None:
    async with served(fake_config(server={"max_audio_s": 2}), fake_infer) as client:
        answer = await post(client, path, data)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]


@pytest.mark.parametrize("failing_from", [0, 1], ids=["first window", "later window"])
async def test_an_error_of_an_accepted_stream_is_one_last_frame(failing_from: float) -> None:
    async def infer(window: Window) -> WindowResult:
        if window.start >= failing_from:
            raise ModelFailed("broke")
        return await fake_infer(window)

    async with served(fake_config(), infer) as client:
        *deltas, last = events(await post(client, OPENAI))
        *parts, native = events(await post(client, NATIVE))
    assert len(deltas) == len(parts) == failing_from
    check("error", last)
    assert "broke" in last["error"]["message"]
    assert (native["success"], native["text"]) == (False, "")
    assert "broke" in native["error"]


async def test_an_unforeseen_error_is_a_frame_without_its_words() -> None:
    async def infer(window: Window) -> WindowResult:
        raise KeyError("secret")

    async with served(fake_config(), infer) as client:
        (last,) = events(await post(client, OPENAI))
    assert last["error"]["type"] == "server_error"
    assert "secret" not in last["error"]["message"]


class Call:
    """One request for a stream, answered frame by frame; httpx's transport would gather them all."""

    def __init__(self, path: str, data: bytes, spec_version: str = "2.3") -> None:
        self.request = httpx.Request(
            "POST", f"http://test{path}", files={FILE_FIELD[path]: ("a", data)}, data={"stream": "true"}
        )
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": spec_version},
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "root_path": "",
            "query_string": b"",
            "headers": [(k.lower().encode(), v.encode()) for k, v in self.request.headers.items()],
        }
        self.task: asyncio.Task[None]
        self.left = asyncio.Event()
        self._unsent = [{"type": "http.request", "body": self.request.read(), "more_body": False}]
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        if self._unsent:
            return self._unsent.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self._messages.put(message)

    async def status(self) -> int:
        return int((await self._next())["status"])

    async def frame(self) -> bytes:
        body: bytes = (await self._next())["body"]
        return body

    async def rest(self) -> list[bytes]:
        """All frames still to come."""
        frames = []
        while frame := await self.frame():
            frames.append(frame)
        return frames

    async def _next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._messages.get(), WAIT_S)


@asynccontextmanager
async def called(
    call: Call, infer: Infer, keepalive_s: float = 0.01, admission: Admission | None = None
) -> AsyncIterator[Call]:
    async def ready() -> bool:
        return True

    config = fake_config(server={"sse_keepalive_s": keepalive_s})
    api = create_api(Service(config, Transcriber(config, infer, admission), ready))
    call.task = asyncio.create_task(api(call.scope, call.receive, call.send))
    try:
        yield call
    finally:
        call.left.set()
        await asyncio.wait({call.task}, timeout=WAIT_S)  # it closes the upload, and more
        assert call.task.done()


class PausedInfer:
    """An `infer` that waits: whether it has begun, whether it may go on, how often it was cancelled."""

    def __init__(self, free: int = 0) -> None:
        self.free = free  # windows that need not wait
        self.begun, self.open, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, window: Window) -> WindowResult:
        if self.free:
            self.free -= 1
            return await fake_infer(window)
        self.begun.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return await fake_infer(window)


@pytest.mark.parametrize("path", [OPENAI, NATIVE])
async def test_an_accepted_stream_has_its_headers_at_once_and_comments_until_words_are_known(
    path: str,
) -> None:
    infer = PausedInfer()
    async with called(Call(path, wav(2)), infer) as call:
        assert await call.status() == 200
        assert [await call.frame() for _ in range(3)] == [KEEP_ALIVE] * 3
        infer.open.set()
        frames = [frame for frame in await call.rest() if frame != KEEP_ALIVE]
    assert len(frames) == 2
    assert all(b"data: {" in frame for frame in frames)


async def test_comments_come_too_while_windows_have_no_words() -> None:
    open_, windows = asyncio.Event(), 0

    async def infer(window: Window) -> WindowResult:
        nonlocal windows
        windows += 1
        if windows > 2:
            await open_.wait()
        return WindowResult((), "en")

    async with called(Call(OPENAI, LONG), infer) as call:
        assert await call.status() == 200
        assert await call.frame() == KEEP_ALIVE
        open_.set()
        assert b'"text":""' in (await call.rest())[-1]


async def test_a_stream_that_is_never_silent_has_no_comments() -> None:
    async with called(Call(OPENAI, LONG), fake_infer, keepalive_s=WAIT_S) as call:
        assert await call.status() == 200
        assert KEEP_ALIVE not in await call.rest()


@pytest.mark.parametrize("path", [OPENAI, NATIVE])
async def test_a_stream_for_which_the_queue_has_no_room_is_a_plain_429(path: str) -> None:
    admission = Admission(Bounds(queued_s=10))
    with admission.reservation("another") as reservation:
        reservation.update(9, 9)
        async with called(Call(path, wav(5)), fake_infer, admission=admission) as call:
            assert await call.status() == 429
            assert json.loads(await call.frame())["error"]


@pytest.mark.parametrize("path", [OPENAI, NATIVE])
@pytest.mark.parametrize("way", ["disconnect", "cancel"])
@pytest.mark.parametrize("free", [0, 1], ids=["before the first event", "after the first event"])
async def test_when_the_caller_leaves_its_windows_are_cancelled(
    path: str, way: Literal["disconnect", "cancel"], free: int
) -> None:
    infer, admission = PausedInfer(free), Admission(Bounds())
    spec_version = "2.3" if way == "disconnect" else "2.4"
    async with called(Call(path, LONG, spec_version), infer, admission=admission) as call:
        assert await call.status() == 200
        while free and b"data: " not in await call.frame():
            pass
        await asyncio.wait_for(infer.begun.wait(), WAIT_S)
        assert admission.buffered_s == 70
        if way == "disconnect":
            call.left.set()
        else:
            call.task.cancel()  # as Ray Serve does
        await asyncio.wait({call.task}, timeout=WAIT_S)
        assert infer.cancelled.is_set()
        assert (admission.queued_s, admission.buffered_s) == (0, 0)


async def test_allow_partial_answers_what_was_transcribed_and_lists_the_gaps() -> None:
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
