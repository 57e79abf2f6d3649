"""Channels of a recording over ASGI, in every dialect and format."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import srt
import webvtt

from tests.conftest import fake_config, served, wav
from tests.support.channels import by_second, stereo
from tests.support.openai_schema import check
from whisper_serve.types import Window, WindowResult

pytestmark = pytest.mark.anyio

OPENAI = "/v1/audio/transcriptions"
IN_TURNS = stereo(12, lambda at: at % 4 < 2, lambda at: at % 4 >= 2)  # two seconds each


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Words are where there is sound, a word a second: the channel and the second."""
    vad = {"method": "energy", "min_silence_s": 0.1, "padding_s": 0.0, "min_speech_s": 0.0}
    async with served(fake_config(vad=vad, model={"engine": "fake", "window_s": 5}), by_second) as client:
        yield client


async def post(client: httpx.AsyncClient, path: str, data: bytes = IN_TURNS, **fields: str) -> httpx.Response:
    name = "file" if path.startswith("/v1") else "audio_file"
    answer = await client.post(path, files={name: ("a.wav", data)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


SAID = [(1, "1:0"), (1, "1:1"), (2, "2:2"), (2, "2:3"), (1, "1:4"), (1, "1:5")]


async def test_the_native_api_lists_segments_and_words_with_their_channel(client: httpx.AsyncClient) -> None:
    body = (await post(client, "/transcribe", channels="separate")).json()
    assert [(s["channel"], s["text"]) for s in body["segments"]][:6] == SAID
    assert body["segments"][0]["words"][0]["channel"] == 1
    assert "speaker" not in body["segments"][0]
    assert body["text"].split()[:4] == ["1:0", "1:1", "2:2", "2:3"]


async def test_streams_say_what_the_whole_says(client: httpx.AsyncClient) -> None:
    *parts, last = events(await post(client, "/transcribe/stream", channels="separate"))
    assert [s for part in parts for s in part["segments"]] == last["segments"]
    assert "".join(part["text"] for part in parts) == last["text"]
    whole = (await post(client, "/transcribe", channels="separate")).json()
    assert whole["segments"] == last["segments"]
    *deltas, done = events(await post(client, OPENAI, channels="separate", stream="true"))
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == last["text"]
    for event in deltas:
        check("delta", event)
    check("done", done)
    assert [(s["channel"], s["text"]) for delta in deltas for s in delta["segments"]][:6] == SAID


async def test_every_format_shows_channels(client: httpx.AsyncClient) -> None:
    async def answer(format: str) -> str:
        return (await post(client, OPENAI, channels="separate", response_format=format)).text

    assert (await answer("text")).splitlines()[:2] == ["[ch 1] 1:0 1:1", "[ch 2] 2:2 2:3"]
    assert next(srt.parse(await answer("srt"), ignore_errors=False)).content == "[ch 1] 1:0"
    assert [c.voice for c in webvtt.from_string(await answer("vtt")).captions][:3] == ["ch 1", "ch 1", "ch 2"]
    assert (await answer("tsv")).splitlines()[3].endswith("\t2:2\t2")
    for format in ("json", "verbose_json", "whisper_json"):
        body = json.loads(await answer(format))
        assert [(s["channel"], s["text"].strip()) for s in body["segments"]][:6] == SAID
        if format != "whisper_json":
            check(format, body)


async def test_mixed_as_ever_nothing_is_said_of_channels(client: httpx.AsyncClient) -> None:
    for answer in (await post(client, OPENAI), await post(client, OPENAI, channels="mix")):
        assert set(answer.json()) == {"text", "language", "model", "usage"}


async def test_silence_on_a_channel_costs_nothing() -> None:
    windows: list[Window] = []

    async def infer(window: Window) -> WindowResult:
        windows.append(window)
        return await by_second(window)

    data = stereo(20, lambda at: at >= 0, lambda at: (at >= 5) & (at < 8))
    async with served(fake_config(vad={"method": "energy"}), infer) as client:
        await post(client, "/transcribe", data, channels="separate")
    assert [window.channel for window in windows] == [1, 2]
    assert windows[1].seconds < 4


async def test_speakr_s_request_is_answered_with_a_speaker_for_each_channel(
    client: httpx.AsyncClient,
) -> None:
    query = "/asr?encode=True&task=transcribe&output=json&diarize=True&enable_diarization=True&min_speakers=2"
    answer = await post(client, query)
    assert [s["speaker"] for s in answer.json()["segments"]][:3] == ["SPEAKER_00", "SPEAKER_00", "SPEAKER_01"]
    assert "x-warning" not in answer.headers
    assert (await post(client, "/asr?diarize=true")).text.startswith("SPEAKER_00: 1:0\nSPEAKER_00: 1:1\n")
    assert (await post(client, "/asr?output=srt&channels=separate")).text.count("[ch 2]") == 6
    assert "SPEAKER" not in (await post(client, "/asr?output=json&diarize=")).text


async def test_a_recording_of_one_microphone_has_one_speaker_and_a_warning(client: httpx.AsyncClient) -> None:
    answer = await post(client, "/asr?output=json&diarize=true", wav(3))
    assert {s["speaker"] for s in answer.json()["segments"]} == {"SPEAKER_00"}
    assert "all is SPEAKER_00" in answer.headers["x-warning"]
    assert answer.json()["warnings"] == [answer.headers["x-warning"]]


@pytest.mark.parametrize("path", ["/transcribe", "/transcribe/stream", OPENAI])
async def test_channels_that_are_too_many_or_misspelt_are_400(path: str) -> None:
    name = "file" if path == OPENAI else "audio_file"
    async with served(fake_config(server={"max_channels": 1}), by_second) as client:
        many = await client.post(path, files={name: ("a", IN_TURNS)}, data={"channels": "separate"})
        misspelt = await client.post(path, files={name: ("a", IN_TURNS)}, data={"channels": "left"})
    assert (many.status_code, misspelt.status_code) == (400, 400)
    assert "2 channels; channels=separate takes at most 1" in many.text
    assert "channels" in misspelt.text
