"""Replacements over ASGI: configured, of an API key and of a request, in every dialect, format and stream."""

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import httpx
import pytest
import srt
import webvtt

from tests.conftest import fake_config, served, wav
from tests.support.openai_schema import check
from whisper_serve.types import Segment, Window, WindowResult, Word

pytestmark = pytest.mark.anyio

OPENAI = "/v1/audio/transcriptions"
OWN = json.dumps({"cooper netties": "Kubernetes"})
WRITTEN = "We run Kubernetes, gonna scale."


async def infer(window: Window) -> WindowResult:
    """The same two segments in every window, between which the phrase is."""
    assert window.options.replacements == ()
    words = [" We", " run", " cooper", " netties,", " gonna", " scale."]
    timed = [Word(i, i + 1.0, word, 0.9) for i, word in enumerate(words)]
    halves = ((0, timed[:3]), (3, timed[3:]))
    return WindowResult(
        tuple(Segment(at, at + 3, "".join(w.text for w in half), words=tuple(half)) for at, half in halves),
        "en",
    )


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with served(fake_config(), infer) as client:
        yield client


async def post(client: httpx.AsyncClient, path: str, seconds: float = 6, **fields: str) -> httpx.Response:
    name = "file" if path.startswith("/v1") else "audio_file"
    headers = {"x-api-key": fields.pop("key", "")}
    files = {name: ("a.wav", wav(seconds))}
    answer = await client.post(path, files=files, data={"replacements": OWN} | fields, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


async def test_every_format_has_what_is_to_be_written(client: httpx.AsyncClient) -> None:
    async def answer(format: str, granularity: str = "segment") -> str:
        fields = {"timestamp_granularities[]": granularity, "response_format": format}
        return (await post(client, OPENAI, 6, **fields)).text

    assert await answer("text") == WRITTEN
    assert [cue.content for cue in srt.parse(await answer("srt"))] == ["We run Kubernetes,", "gonna scale."]
    assert webvtt.from_string(await answer("vtt")).captions[0].text == "We run Kubernetes,"
    assert (await answer("tsv")).splitlines()[1] == "0\t4000\tWe run Kubernetes,"
    assert (await answer("txt")).splitlines()[1] == "gonna scale."
    assert json.loads(await answer("json"))["text"] == WRITTEN
    body = json.loads(await answer("verbose_json", "word"))
    check("verbose_json", body)
    assert body["words"][2] == {"word": "Kubernetes,", "start": 2.0, "end": 4.0}
    assert json.loads(await answer("whisper_json"))["segments"][1]["text"] == " gonna scale."


@pytest.mark.parametrize("seconds", [6, 70])
async def test_streams_agree_with_themselves_and_with_the_whole(
    client: httpx.AsyncClient, seconds: float
) -> None:
    *deltas, done = events(await post(client, OPENAI, seconds, stream="true"))
    *parts, last = events(await post(client, "/transcribe/stream", seconds, word_timestamps="true"))
    whole = (await post(client, "/transcribe", seconds)).json()["text"]
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == whole
    assert "".join(part["text"] for part in parts) == last["text"] == whole
    assert [s for part in parts for s in part["segments"]] == last["segments"]
    assert whole.count("Kubernetes") == whole.count("We run") > 0


async def test_asr_and_translations_replace_too(client: httpx.AsyncClient) -> None:
    assert "Kubernetes" in (await post(client, "/asr?output=srt")).text
    assert "Kubernetes" in (await post(client, "/v1/audio/translations")).text


async def test_a_request_s_own_come_before_those_of_its_key_and_those_of_all() -> None:
    keys = [
        {"name": name, "sha256": sha256(name.encode()).hexdigest(), "replacements": table}
        for name, table in (("ann", {"cooper netties": "K8s", "scale": "grow"}), ("bob", {}))
    ]
    shared = {"cooper netties": "Kubernetes", "gonna": "going to"}
    settings = fake_config(text={"replacements": shared}, security={"keys": keys})
    async with served(settings, infer) as client:
        ann = await post(client, "/transcribe", key="ann", replacements="")
        own = await post(client, "/transcribe", key="ann", replacements='{"Cooper Netties": "kubectl"}')
        bob = await post(client, "/transcribe", key="bob", replacements="{}")
    assert ann.json()["text"] == "We run K8s, going to grow."
    assert own.json()["text"] == "We run kubectl, going to grow."
    assert bob.json()["text"] == "We run Kubernetes, going to scale."


@pytest.mark.parametrize("path", ["/transcribe", "/transcribe/stream", OPENAI, "/asr"])
@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ("cooper=Kubernetes", "should be a JSON object of texts"),
        ('["a"]', "should be a JSON object of texts"),
        ('{"a": 1}', "should be a JSON object of texts"),
        ("[" * 100_000, "should be a JSON object of texts"),
        ('{"a": ""}', "may be empty"),
        ('{" ": "a"}', "may be empty"),
        ('{"a": "b\\n\\n1"}', "control character"),
        ('{"a": "1", "b": "2", "c": "3"}', "3 entries; a request may bring 2"),
        ('{"a": "bbbbbbbbb"}', "more than 8 characters"),
    ],
)
async def test_what_cannot_be_replaced_is_400_with_a_sentence(path: str, sent: str, sentence: str) -> None:
    settings = fake_config(text={"max_replacements": 2, "max_replacement_chars": 8})
    async with served(settings, infer) as client:
        name = "file" if path == OPENAI else "audio_file"
        answer = await client.post(path, files={name: ("a", wav(1))}, data={"replacements": sent})
    assert answer.status_code == 400
    assert "replacements: " in answer.text
    assert sentence in answer.text
