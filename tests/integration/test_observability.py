"""Metrics and logs of requests, over ASGI, with the fake engine."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import fake_config, fake_infer, served, wav
from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.config.resolve import Resolved
from whisper_serve.telemetry.logs import ACCESS, set_up_logging
from whisper_serve.telemetry.metrics import SERIES, record_with
from whisper_serve.telemetry.prometheus import CONTENT_TYPE
from whisper_serve.telemetry.settings import Logging
from whisper_serve.transcription.transcriber import Transcriber

pytestmark = pytest.mark.anyio

Kept = dict[str, list[tuple[float, dict[str, str]]]]
SECRET = "correct horse battery staple"


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Every value recorded, by series."""
    values: Kept = {name: [] for name in SERIES}

    def keep(name: str, value: float, labels: dict[str, str]) -> None:
        values[name].append((value, labels))

    record_with({name: partial(keep, name) for name in SERIES})
    yield values
    record_with({name: lambda value, labels: None for name in SERIES})


async def post(client: httpx.AsyncClient, seconds: float = 2, **fields: str) -> httpx.Response:
    return await client.post("/transcribe", files={"audio_file": ("a.wav", wav(seconds))}, data=fields)


async def test_an_answered_request_is_counted_with_its_audio(client: httpx.AsyncClient, kept: Kept) -> None:
    assert (await post(client, 2)).status_code == 200
    assert kept["requests"] == [(1, {"endpoint": "/transcribe", "status": "200"})]
    assert kept["audio_seconds"] == [(2, {"endpoint": "/transcribe"})]
    assert kept["real_time_factor"][0][0] == pytest.approx(kept["request_seconds"][0][0] / 2, rel=0.5)
    assert len(kept["queue_seconds"]) == len(kept["inference_seconds"]) == len(kept["decode_seconds"]) == 1


async def test_a_stream_is_counted_once_it_is_over(client: httpx.AsyncClient, kept: Kept) -> None:
    await client.post("/transcribe/stream", files={"audio_file": ("a.wav", wav(65))}, data={"language": "en"})
    assert kept["audio_seconds"] == [(65, {"endpoint": "/transcribe/stream"})]
    assert kept["requests"] == [(1, {"endpoint": "/transcribe/stream", "status": "200"})]


async def test_a_stream_that_fails_is_counted_with_the_status_of_its_error(
    client: httpx.AsyncClient, kept: Kept
) -> None:
    answer = await client.post(
        "/transcribe/stream", files={"audio_file": ("a.wav", wav(2))}, data={"prompt": "explode"}
    )
    assert answer.status_code == 200
    assert kept["requests"] == [(1, {"endpoint": "/transcribe/stream", "status": "500"})]


async def test_unknown_paths_share_a_label(client: httpx.AsyncClient, kept: Kept) -> None:
    for path in ("/nope", "/nope/2", "/v1/models/base"):
        await client.get(path)
    assert [labels["endpoint"] for _, labels in kept["requests"]] == [
        "other",
        "other",
        "/v1/models/{id:path}",
    ]


async def test_dropped_segments_are_counted_by_reason(kept: Kept) -> None:
    config = fake_config(quality={"filters": ["phrases"]})
    async with served(config, fake_infer) as client:
        await post(client, prompt="say Subtitles by the Amara.org community")
    assert kept["dropped_segments"] == [(1, {"reason": "phrases"})]


def with_key() -> Resolved:
    key = {"name": "ada", "sha256": sha256(SECRET.encode()).hexdigest()}
    return fake_config(security={"keys": [key]})


async def test_a_request_without_a_key_is_counted_as_refused(kept: Kept) -> None:
    async with served(with_key(), fake_infer) as client:
        assert (await post(client)).status_code == 401
    assert kept["refused"] == [(1, {"endpoint": "/transcribe", "status": "401"})]


@asynccontextmanager
async def with_metrics(config: Resolved) -> AsyncIterator[httpx.AsyncClient]:
    async def ready() -> bool:
        return True

    async def metrics() -> str:
        return "ray_whisper_serve_node_up 1\n"

    api = create_api(Service(config, Transcriber(config, fake_infer), ready, metrics))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://test") as client:
        yield client


async def test_metrics_are_prometheus_text_and_need_a_key_where_keys_are_set() -> None:
    async with with_metrics(with_key()) as client:
        assert (await client.get("/metrics")).status_code == 401
        answer = await client.get("/metrics", headers={"authorization": f"Bearer {SECRET}"})
    assert answer.text == "ray_whisper_serve_node_up 1\n"
    assert answer.headers["content-type"] == CONTENT_TYPE


async def test_without_keys_metrics_are_open_and_without_metrics_there_are_none(
    client: httpx.AsyncClient,
) -> None:
    async with with_metrics(fake_config()) as open_to_all:
        assert (await open_to_all.get("/metrics")).status_code == 200
    assert (await client.get("/metrics")).status_code == 404


async def logged(tmp_path: Path, **settings: Any) -> str:
    """All that is logged of two requests, one of which fails, with a key and a prompt."""
    path = tmp_path / "all.log"
    logging_settings = Logging(file=str(path), level="DEBUG", **settings)
    config = with_key().model_copy(update={"logging": logging_settings})
    set_up_logging(logging_settings)
    async with served(config, fake_infer) as client:
        client.headers["authorization"] = f"Bearer {SECRET}"
        assert (await post(client, hotwords="Zanzibar")).status_code == 200
        assert (await post(client, prompt="explode")).status_code == 500
    set_up_logging(Logging(file=None))
    return path.read_text()


async def test_no_words_and_no_keys_are_logged(tmp_path: Path) -> None:
    text = await logged(tmp_path)
    assert '"caller": "ada"' in text
    for secret in ("seconds at", "Zanzibar", SECRET, sha256(SECRET.encode()).hexdigest()):
        assert secret not in text


async def test_words_are_logged_where_that_is_asked_for(tmp_path: Path) -> None:
    lines = map(json.loads, (await logged(tmp_path, transcripts=True)).splitlines())
    first = next(line for line in lines if line["name"] == ACCESS)
    assert first["text"].startswith("2.0 seconds at 0.0")
    assert first["request_id"]
