"""What a caller should know about an answer: in every dialect's body where it has room, and in a header."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.conftest import fake_config, fake_infer, served, wav
from tests.support.openai_schema import check
from whisper_serve.types import Window, WindowResult

pytestmark = pytest.mark.anyio

OPENAI = "/v1/audio/transcriptions"
SAID = ["the wind was as loud as the words", "naïve"]
HEADER = "the wind was as loud as the words; na?ve"


@pytest.fixture
async def warned() -> AsyncIterator[httpx.AsyncClient]:
    """A service that warns about every window."""

    async def infer(window: Window) -> WindowResult:
        return replace(await fake_infer(window), warnings=tuple(SAID))

    async with served(fake_config(), infer) as client:
        yield client


async def post(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    name = "file" if path.startswith("/v1") else "audio_file"
    return await client.post(path, files={name: ("a.wav", wav(70))}, data=fields)


def last_event(answer: httpx.Response) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(answer.text.strip().split("data: ")[-1])
    return event


@pytest.mark.parametrize("format", ["json", "verbose_json", "whisper_json"])
async def test_openai_s_json_lists_each_warning_once_and_stays_valid(
    warned: httpx.AsyncClient, format: str
) -> None:
    answer = await post(warned, OPENAI, response_format=format)
    assert answer.json()["warnings"] == SAID
    if format != "whisper_json":
        check(format, answer.json())
    assert answer.headers["x-warning"] == HEADER


@pytest.mark.parametrize("format", ["text", "srt", "vtt", "tsv", "txt"])
async def test_formats_without_room_have_warnings_in_a_header_of_ascii(
    warned: httpx.AsyncClient, format: str
) -> None:
    answer = await post(warned, OPENAI, response_format=format)
    assert answer.headers["x-warning"] == HEADER
    assert "naïve" not in answer.text


async def test_the_native_answer_lists_warnings(warned: httpx.AsyncClient) -> None:
    answer = await post(warned, "/transcribe")
    assert answer.json()["warnings"] == SAID
    assert answer.headers["x-warning"] == HEADER


async def test_asr_has_warnings_in_a_header_and_in_json(warned: httpx.AsyncClient) -> None:
    assert (await post(warned, "/asr")).headers["x-warning"] == HEADER
    assert (await post(warned, "/asr?output=json")).json()["warnings"] == SAID


async def test_the_last_event_of_a_stream_lists_warnings(warned: httpx.AsyncClient) -> None:
    done = last_event(await post(warned, OPENAI, stream="true"))
    check("done", done)
    assert done["warnings"] == last_event(await post(warned, "/transcribe/stream"))["warnings"] == SAID


@pytest.mark.parametrize("path", ["/transcribe", OPENAI, "/asr"])
async def test_an_ordinary_answer_has_none(client: httpx.AsyncClient, path: str) -> None:
    answer = await post(client, path)
    assert "x-warning" not in answer.headers
    assert "warnings" not in answer.text
