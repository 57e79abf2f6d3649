"""The native API over ASGI, with the fake engine behind it."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import fake_config, wav
from whisper_serve.config.resolve import Resolved

pytestmark = pytest.mark.anyio

FIELDS = {"success", "text", "latency", "word_count", "gpu_memory", "error"}


async def post(
    client: httpx.AsyncClient, data: bytes, name: str = "clip.wav", **fields: str
) -> httpx.Response:
    return await client.post("/transcribe", files={"audio_file": (name, data)}, data=fields)


async def test_the_answer_has_the_native_fields(client: httpx.AsyncClient) -> None:
    answer = await post(client, wav(2))
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == FIELDS
    assert body["text"] == "2.0 seconds at 0.0, batch of 1."
    assert (body["success"], body["word_count"], body["gpu_memory"], body["error"]) == (True, 7, 0.0, None)
    assert 0 < body["latency"] < 10


async def test_the_timings_are_in_the_headers(client: httpx.AsyncClient) -> None:
    headers = (await post(client, wav(2))).headers
    assert float(headers["x-audio-seconds"]) == 2.0
    for name in ("x-decode-ms", "x-queue-ms", "x-inference-ms", "x-batch-windows", "x-batch-seconds"):
        assert float(headers[name]) >= 0


async def test_words_and_their_times_are_listed_on_request(client: httpx.AsyncClient) -> None:
    body = (await post(client, wav(2), word_timestamps="true")).json()
    assert set(body) == FIELDS | {"segments"}
    assert " ".join(w["word"] for w in body["segments"][0]["words"]) == body["text"]


@pytest.mark.parametrize("name", ["blob", "a.txt", "päivä 1.wav", "x.mp3"])
async def test_a_file_s_name_does_not_matter(client: httpx.AsyncClient, name: str) -> None:
    assert (await post(client, wav(1), name)).status_code == 200


async def test_fields_may_be_empty_unknown_or_in_any_order(client: httpx.AsyncClient) -> None:
    answer = await post(client, wav(1), language="", temperature="", prompt="", nonsense="1", vad="")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("data", "fields", "message"),
    [
        (b"", {}, "empty"),
        (b"not audio at all", {}, "audio"),
        (wav(1), {"language": "klingon"}, "klingon"),
        (wav(1), {"temperature": "hot"}, "temperature"),
        (wav(1), {"temperature": "9"}, "temperature"),
        (wav(1), {"task": "sing"}, "task"),
    ],
)
async def test_a_mistake_is_400_with_a_sentence_in_the_native_fields(
    client: httpx.AsyncClient, data: bytes, fields: dict[str, str], message: str
) -> None:
    answer = await post(client, data, **fields)
    body = answer.json()
    assert answer.status_code == 400
    assert set(body) == FIELDS
    assert (body["success"], body["text"], body["word_count"]) == (False, "", 0)
    assert message in body["error"]


async def test_a_request_without_its_file_says_which_field_is_missing(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.post("/transcribe"),
        await client.post("/transcribe", files={"audio_file": (None, "text")}),
        await client.post("/transcribe", files={"file": ("a.wav", wav(1))}),
    ):
        assert answer.status_code == 400
        assert "audio_file" in answer.json()["error"]


async def test_a_broken_form_is_400(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await client.post("/transcribe", content=b"--y\r\nnonsense", headers=headers)
    assert answer.status_code == 400
    assert set(answer.json()) == FIELDS


async def test_a_model_failure_is_500_in_the_native_fields(client: httpx.AsyncClient) -> None:
    answer = await post(client, wav(1), prompt="explode")
    assert answer.status_code == 500
    assert set(answer.json()) == FIELDS
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/transcribe", 405)]
)
async def test_a_wrong_path_or_method_is_answered_in_the_same_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert path in answer.json()["error"]


async def test_a_request_id_is_taken_over_or_made(client: httpx.AsyncClient) -> None:
    given = await client.get("/healthz", headers={"x-request-id": "abc-1"})
    made = await client.get("/healthz", headers={"x-request-id": "bad id\twith blanks"})
    assert given.headers["x-request-id"] == "abc-1"
    assert re.fullmatch(r"[0-9a-f-]{36}", made.headers["x-request-id"])


async def test_health_answers_nothing_but_its_status(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
    assert (await client.get("/readyz")).status_code == 200
    assert (await client.get("/docs")).status_code == 200


class TestSmallLimits:
    @pytest.fixture
    def config(self) -> Resolved:
        return fake_config(server={"max_upload_mb": 0.1, "max_audio_s": 2})

    async def test_an_upload_over_the_bound_is_413(self, client: httpx.AsyncClient) -> None:
        answer = await post(client, bytes(200_000))
        assert answer.status_code == 413
        assert "0.1 MB" in answer.json()["error"]

    async def test_bytes_are_counted_where_no_length_is_sent(self, client: httpx.AsyncClient) -> None:
        async def endless() -> AsyncIterator[bytes]:
            yield b'--x\r\ncontent-disposition: form-data; name="audio_file"; filename="a"\r\n\r\n'
            for _ in range(1000):
                yield bytes(10_000)

        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = await client.post("/transcribe", content=endless(), headers=headers)
        assert answer.status_code == 413

    async def test_a_recording_over_the_bound_is_413(self, client: httpx.AsyncClient) -> None:
        answer = await post(client, wav(3))
        assert answer.status_code == 413
        assert set(answer.json()) == FIELDS


async def test_the_root_shows_programs_where_to_go_and_browsers_the_documentation(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.json()["service"] == "whisper_serve"
    assert (answer.json()["documentation"], answer.json()["transcribe"]) == ("/docs", "/transcribe")
    browser = await client.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    assert (browser.status_code, browser.headers["location"]) == (307, "/docs")
