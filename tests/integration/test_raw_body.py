"""Recordings as the body of a request, with options as query parameters, over ASGI."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import fake_config, fake_infer, served, wav
from whisper_serve.types import Window, WindowResult

pytestmark = pytest.mark.anyio

TYPES = [
    None,
    "audio/wav",
    "video/mp4",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "text/plain",
]


def typed(content_type: str | None) -> dict[str, str]:
    return {"content-type": content_type} if content_type else {}


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("path", ["/transcribe", "/transcribe/stream"])
async def test_a_recording_as_the_body_is_transcribed(
    client: httpx.AsyncClient, path: str, content_type: str | None
) -> None:
    answer = await client.post(path, content=wav(2), headers=typed(content_type))
    assert answer.status_code == 200, answer.text
    assert '"text":"2.0 seconds at 0.0, batch of 1."' in answer.text


async def test_a_body_that_comes_in_pieces_is_read_whole(client: httpx.AsyncClient) -> None:
    recording = wav(60)  # more than is held in memory

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(recording), 50_000):
            yield recording[at : at + 50_000]

    answer = await client.post("/transcribe", content=pieces())
    assert (answer.status_code, answer.headers["x-audio-seconds"]) == (200, "60.000")


async def test_query_parameters_are_its_options() -> None:
    windows: list[Window] = []

    async def infer(window: Window) -> WindowResult:
        windows.append(window)
        return await fake_infer(window)

    async with served(fake_config(), infer) as client:
        path = "/transcribe?language=German&task=translate&prompt=Hallo&temperature=0.4&word_timestamps=true"
        answer = await client.post(path, content=wav(1))
    options = windows[0].options
    assert (options.language, options.task, options.prompt) == ("de", "translate", "Hallo")
    assert (options.temperature, options.word_timestamps) == (0.4, True)
    assert answer.json()["segments"][0]["words"]


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("", b"", "audio_file: field required"),
        ("", b"language=de&audio_file=speech.wav", "this is no audio or video"),
        ("?temperature=7", wav(1), "temperature: "),
        ("?language=klingon", wav(1), "language: 'klingon' is not a language"),
    ],
    ids=["empty", "a form's fields", "temperature", "language"],
)
async def test_a_mistake_is_400_with_a_sentence(
    client: httpx.AsyncClient, query: str, body: bytes, message: str
) -> None:
    answer = await client.post(
        f"/transcribe{query}", content=body, headers=typed("application/x-www-form-urlencoded")
    )
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize("known_length", [True, False])
async def test_the_bounds_of_uploads_hold(known_length: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield bytes(100_000)

    async with served(fake_config(server={"max_upload_mb": 0.5}), fake_infer) as client:
        answer = await client.post("/transcribe", content=bytes(600_000) if known_length else pieces())
    assert answer.status_code == 413
    assert "0.5 MB" in answer.json()["error"]


async def test_the_schema_names_the_other_types_and_the_parameters(client: httpx.AsyncClient) -> None:
    operation = (await client.get("/openapi.json")).json()["paths"]["/transcribe"]["post"]
    assert {"multipart/form-data", "application/octet-stream"} == set(operation["requestBody"]["content"])
    assert {"language", "temperature"} <= {parameter["name"] for parameter in operation["parameters"]}
    assert "audio_file" not in {parameter["name"] for parameter in operation["parameters"]}
