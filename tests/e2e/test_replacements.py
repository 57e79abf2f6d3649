"""Replacements on real speech, whole and streamed."""

import json
from typing import Any

import httpx

from loadtest.common import speech
from tests.support.service import Running

TABLE = json.dumps({"fellow americans": "Countrymen", "country": "land of ours"})


def post(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    form = {"language": "en", "word_timestamps": "true"} | fields
    files = {"audio_file": ("jfk.flac", speech.jfk().read_bytes())}
    answer = client.post(path, files=files, data=form)
    answer.raise_for_status()
    return answer


def words(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [word for segment in body["segments"] for word in segment["words"]]


def test_words_that_are_replaced_have_the_times_of_those_that_were_said(service: Running) -> None:
    with service.client() as client:
        said = post(client, "/transcribe").json()
        written = post(client, "/transcribe", replacements=TABLE).json()
        frames = post(client, "/transcribe/stream", replacements=TABLE).text
    *parts, last = [json.loads(line[6:]) for line in frames.splitlines() if line.startswith("data: ")]
    assert "".join(part["text"] for part in parts) == last["text"] == written["text"]
    assert "my Countrymen" in written["text"]
    assert (said["text"].count("country"), written["text"].count("land of ours")) == (2, 2)
    fellow, americans = [w for w in words(said) if w["word"].strip(",").lower() in ("fellow", "americans")]
    (countrymen,) = [word for word in words(written) if word["word"].strip(",") == "Countrymen"]
    assert (countrymen["start"], countrymen["end"]) == (fellow["start"], americans["end"])
    assert last["segments"] == written["segments"]
