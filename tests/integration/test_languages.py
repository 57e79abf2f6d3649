"""The languages that a request names, in every dialect: what the model is asked, and what is refused."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.conftest import fake_config, fake_infer, served, wav
from tests.support.openai_schema import check
from whisper_serve.types import Options, Window, WindowResult

pytestmark = pytest.mark.anyio

OPENAI, NATIVE, ASR = "/v1/audio/transcriptions", "/transcribe", "/asr"
MULTILINGUAL = {"multilingual": "true"}
PATHS = [OPENAI, "/v1/audio/translations", NATIVE, "/transcribe/stream", ASR]


@pytest.fixture
def asked() -> list[Options]:
    return []


@pytest.fixture
async def service(asked: list[Options]) -> AsyncIterator[httpx.AsyncClient]:
    """Its windows' options go to `asked`; later windows are in German."""

    async def infer(window: Window) -> WindowResult:
        asked.append(window.options)
        language = window.options.language or ("de" if window.start else "en")
        return replace(await fake_infer(window), language=language)

    async with served(fake_config(), infer) as client:
        yield client


async def post(
    client: httpx.AsyncClient, path: str, fields: dict[str, Any], seconds: float = 1
) -> httpx.Response:
    name = "file" if path.startswith("/v1") else "audio_file"
    params, data = (fields, {}) if path == ASR else ({}, fields)
    return await client.post(path, files={name: ("a.wav", wav(seconds))}, params=params, data=data)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("given", "language", "languages"),
    [("nob", "no", ()), ("jv", "jw", ()), ("und", None, ()), ("eng,de", None, ("en", "de"))],
)
async def test_codes_are_mapped_and_several_are_an_allow_list(
    service: httpx.AsyncClient,
    asked: list[Options],
    path: str,
    given: str,
    language: str | None,
    languages: tuple[str, ...],
) -> None:
    assert (await post(service, path, {"language": given})).status_code == 200
    assert (asked[0].language, asked[0].languages) == (language, languages)


@pytest.mark.parametrize("field", ["languages[]", "languages"])
@pytest.mark.parametrize("path", [OPENAI, NATIVE, ASR])
async def test_a_repeated_field_is_an_allow_list_and_one_alone_is_the_language(
    service: httpx.AsyncClient, asked: list[Options], path: str, field: str
) -> None:
    if path == ASR:
        field = "languages"
    await post(service, path, {field: ["en", "german"]})
    await post(service, path, {field: ["deu"]})
    assert [(o.language, o.languages) for o in asked] == [(None, ("en", "de")), ("de", ())]


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_language_is_refused_with_a_guess(service: httpx.AsyncClient, path: str) -> None:
    answer = await post(service, path, {"language": "en,germen"})
    assert answer.status_code == 400
    assert "did you mean german?" in answer.text


@pytest.mark.parametrize("field", ["languages[]", "languages"])
async def test_an_unknown_language_in_a_list_is_refused(service: httpx.AsyncClient, field: str) -> None:
    answer = await post(service, OPENAI, {field: ["en", "gsw"]})
    check("error", answer.json())
    assert "'gsw' is not a language that Whisper knows" in answer.json()["error"]["message"]


async def test_with_multilingual_openai_s_segments_name_their_language(service: httpx.AsyncClient) -> None:
    answer = await post(service, OPENAI, MULTILINGUAL | {"response_format": "verbose_json"}, 70)
    body = answer.json()
    check("verbose_json", body)
    assert [s["language"] for s in body["segments"]] == ["en", "de", "de"]
    plain = (await post(service, OPENAI, {"response_format": "verbose_json"})).json()
    assert "language" not in plain["segments"][0]


async def test_with_multilingual_the_native_answer_lists_segments_with_their_language(
    service: httpx.AsyncClient,
) -> None:
    body = (await post(service, NATIVE, MULTILINGUAL, 70)).json()
    assert [(s["language"], s["words"]) for s in body["segments"]] == [("en", []), ("de", []), ("de", [])]


async def test_with_multilingual_asr_names_languages_in_json(service: httpx.AsyncClient) -> None:
    body = (await post(service, ASR, MULTILINGUAL | {"output": "json"}, 70)).json()
    assert [s["language"] for s in body["segments"]] == ["en", "de", "de"]
