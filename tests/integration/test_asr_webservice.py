"""whisper-asr-webservice's dialect over ASGI, with the fake engine behind it."""

import io
import json
from dataclasses import replace

import httpx
import pytest
import soundfile
import srt
import webvtt

from tests.conftest import fake_config, fake_infer, served, wav
from whisper_serve.types import SAMPLE_RATE, Window, WindowResult

pytestmark = pytest.mark.anyio


def pcm(seconds: float) -> bytes:
    samples, _ = soundfile.read(io.BytesIO(wav(seconds)), dtype="int16")
    data: bytes = samples.tobytes()
    return data


async def post(client: httpx.AsyncClient, query: str, data: bytes, path: str = "/asr") -> httpx.Response:
    return await client.post(f"{path}?{query}", files={"audio_file": ("show.mkv", data)})


async def test_subtitles_of_headerless_pcm_as_bazarr_asks_for_them(client: httpx.AsyncClient) -> None:
    answer = await post(client, "task=transcribe&language=en&output=srt&encode=false", pcm(2.5))
    assert answer.status_code == 200, answer.text
    (cue,) = srt.parse(answer.text, ignore_errors=False)
    assert (cue.end.total_seconds(), cue.content) == (2.5, "2.5 seconds at 0.0, batch of 1.")
    assert answer.headers["asr-engine"] == "fake"
    assert answer.headers["content-disposition"] == 'attachment; filename="show.mkv.srt"'


async def test_each_output_is_in_its_format(client: httpx.AsyncClient) -> None:
    text = "2.0 seconds at 0.0, batch of 1."
    bodies = {
        output: (await post(client, f"output={output}", wav(2))).text
        for output in ("txt", "vtt", "tsv", "json")
    }
    assert bodies["txt"] == (await post(client, "", wav(2))).text == f"{text}\n"
    assert webvtt.from_string(bodies["vtt"]).captions[0].text == text
    assert bodies["tsv"] == f"start\tend\ttext\n0\t2000\t{text}\n"
    body = json.loads(bodies["json"])
    assert (set(body), body["language"]) == ({"text", "segments", "language"}, "en")


async def test_words_come_with_json(client: httpx.AsyncClient) -> None:
    body = (await post(client, "output=json&word_timestamps=true", wav(2))).json()
    assert [word["word"] for word in body["segments"][0]["words"]][:2] == ["2.0", "seconds"]


async def test_empty_parameters_are_as_absent(client: httpx.AsyncClient) -> None:
    query = "language=&initial_prompt=&vad_filter=&task=transcribe"
    assert (await post(client, query, wav(1))).status_code == 200


@pytest.mark.parametrize(
    "query", ["output=docx", "task=sing", "language=klingon", "encode=perhaps", "vad_filter=perhaps"]
)
async def test_a_mistake_is_400(client: httpx.AsyncClient, query: str) -> None:
    answer = await post(client, query, wav(1))
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


@pytest.mark.parametrize("data", [b"", b"abc"])
@pytest.mark.parametrize("path", ["/asr", "/detect-language"])
async def test_bytes_that_are_no_samples_are_400(client: httpx.AsyncClient, path: str, data: bytes) -> None:
    assert (await post(client, "encode=false", data, path)).status_code == 400


async def test_the_header_names_the_engine_that_ran_where_the_config_leaves_it_open() -> None:
    async def infer(window: Window) -> WindowResult:
        return replace(await fake_infer(window), engine="ctranslate2")

    async with served(fake_config(model={"engine": "auto"}), infer) as client:
        answer = await post(client, "", wav(1))
    assert answer.headers["asr-engine"] == "ctranslate2"


async def test_headerless_sound_is_bounded_too() -> None:
    async with served(fake_config(server={"max_audio_s": 2}), fake_infer) as client:
        answer = await post(client, "encode=false", pcm(3))
    assert answer.status_code == 413


async def test_the_language_is_answered_with_its_probability() -> None:
    async def german(window: Window) -> WindowResult:
        assert len(window.samples) == 2 * SAMPLE_RATE
        return WindowResult((), "de", 0.98765)

    async with served(fake_config(), german) as client:
        answer = await post(client, "encode=false", pcm(2), "/detect-language")
    assert answer.json() == {"detected_language": "german", "language_code": "de", "confidence": 0.9877}


async def test_silence_is_english_with_a_confidence_of_zero() -> None:
    async with served(fake_config(vad={"method": "energy"}), fake_infer) as client:
        answer = await post(client, "", wav(2, level=0), "/detect-language")
    assert answer.json() == {"detected_language": "english", "language_code": "en", "confidence": 0.0}
