"""The APIs of Groq and whisper.cpp, and paths as clients write them, over ASGI."""

from typing import Any

import httpx
import pytest
import srt

from tests.conftest import wav
from tests.support.openai_schema import check

pytestmark = pytest.mark.anyio

TEXT = "2.0 seconds at 0.0, batch of 1."


async def post(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    return await client.post(path, files={"file": ("a.wav", wav(2))}, data=fields)


@pytest.mark.parametrize("path", ["/openai/v1/audio/transcriptions", "/openai/v1/audio/translations"])
@pytest.mark.parametrize("format", ["json", "verbose_json"])
async def test_groq_s_json_has_the_request_s_id(client: httpx.AsyncClient, path: str, format: str) -> None:
    answer = await post(client, path, response_format=format)
    check(format, answer.json())
    assert answer.json()["x_groq"] == {"id": answer.headers["x-request-id"]}
    assert answer.json()["text"] == TEXT


async def test_below_groq_s_prefix_all_else_is_as_openai_has_it(client: httpx.AsyncClient) -> None:
    for path in ("/audio/transcriptions", "/audio/translations"):
        theirs, ours = [await post(client, p + path, response_format="srt") for p in ("/openai/v1", "/v1")]
        assert (theirs.text, theirs.headers["content-type"]) == (ours.text, ours.headers["content-type"])
    for path in ("/models", "/models/whisper-1", "/models/whisper-9", "/nowhere"):
        theirs, ours = [await client.get(p + path) for p in ("/openai/v1", "/v1")]
        assert theirs.status_code == ours.status_code
        assert theirs.text.replace("/openai/v1", "/v1") == ours.text
    streamed = await post(client, "/openai/v1/audio/transcriptions", stream="true")
    assert "event: transcript.text.done" in streamed.text


async def test_json_names_language_and_model_as_mistral_s_clients_require(client: httpx.AsyncClient) -> None:
    body = (await post(client, "/v1/audio/transcriptions", model="whisper-1")).json()
    check("json", body)
    assert (body["model"], body["language"]) == ("whisper-1", "en")
    assert (await post(client, "/v1/audio/transcriptions")).json()["model"] == "base"


async def test_whisper_cpp_s_formats(client: httpx.AsyncClient) -> None:
    answers = {
        name: await post(client, "/inference", response_format=name, temperature="0.0", temperature_inc="0.2")
        for name in ("json", "text", "srt", "vtt", "verbose_json")
    }
    assert {answer.status_code for answer in answers.values()} == {200}
    assert answers["json"].json()["text"] == TEXT
    assert answers["text"].text == f"{TEXT}\n"
    assert answers["vtt"].text.startswith("WEBVTT")
    (cue,) = srt.parse(answers["srt"].text, ignore_errors=False)
    assert cue.content == TEXT
    verbose: dict[str, Any] = answers["verbose_json"].json()
    assert (verbose["task"], verbose["language"], verbose["duration"]) == ("transcribe", "english", 2.0)
    words = verbose["segments"][0]["words"]
    assert {"word", "start", "end", "probability"} == set(words[0])
    assert "".join(word["word"] for word in words) == verbose["segments"][0]["text"]


async def test_whisper_cpp_s_fields(client: httpx.AsyncClient) -> None:
    answer = await post(
        client,
        "/inference",
        response_format="verbose_json",
        translate="true",
        language="auto",
        no_timestamps="1",
    )
    assert answer.json()["task"] == "translate"
    assert "words" not in answer.json()["segments"][0]


async def test_whisper_cpp_s_errors_are_a_sentence(client: httpx.AsyncClient) -> None:
    answers = [
        await client.post("/inference", data={"temperature": "0"}),
        await client.post("/inference", files={"file": ("a.wav", b"no sound")}),
        await post(client, "/inference", response_format="docx"),
        await client.get("/inference"),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 405]
    for answer in answers:
        assert list(answer.json()) == ["error"]
        assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize(
    "path", ["/v1/audio/transcriptions/", "/openai/v1/audio/transcriptions/", "/inference//"]
)
async def test_a_slash_at_the_end_changes_nothing(client: httpx.AsyncClient, path: str) -> None:
    answer = await post(client, path)
    assert (answer.status_code, answer.json()["text"]) == (200, TEXT)


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nowhere/", "/openai/v1", "/openai/v1/audio/nowhere"])
async def test_unknown_paths_below_the_prefixes_are_answered_as_openai_does(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.post(path)
    check("error", answer.json())
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")
