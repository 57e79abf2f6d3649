"""OpenAI's and whisper-asr-webservice's dialects, with the real model on real speech."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import srt
import webvtt

from loadtest.common import speech
from loadtest.common.wer import wer
from tests.clients import results
from tests.support.openai_schema import check
from tests.support.service import Running
from whisper_serve.audio.decode import decode
from whisper_serve.engines import ENGINES

NEWEST = "openai-python 3.51.0"
JFK = speech.ROWS["jfk.flac"]["text"]


def right(text: str) -> bool:
    return wer([JFK], [text]) < 0.1


@pytest.fixture(scope="module")
def got(service: Running) -> dict[str, Any]:
    """What the newest openai-python was answered, call by call."""
    return results(NEWEST, service.url, speech.jfk())


def test_every_format_has_the_words(got: dict[str, Any]) -> None:
    assert right(got["json"]["text"])
    assert right(got["text"])
    assert right(got["verbose_json"]["text"])
    assert right(" ".join(cue.content for cue in srt.parse(got["srt"], ignore_errors=False)))
    assert right(" ".join(caption.text for caption in webvtt.from_string(got["vtt"]).captions))


def test_verbose_json_has_real_numbers_and_words_in_order(got: dict[str, Any]) -> None:
    body = got["verbose_json"]
    check("verbose_json", body)
    assert (body["language"], body["duration"]) == ("english", pytest.approx(11, abs=0.1))
    for segment in body["segments"]:
        assert segment["tokens"]
        assert -1 < segment["avg_logprob"] < 0
        assert 0.5 < segment["compression_ratio"] < 2.4
        assert 0 <= segment["no_speech_prob"] < 0.6
    words = body["words"]
    assert right(" ".join(word["word"] for word in words))
    assert all(word["start"] <= word["end"] <= after["start"] for word, after in pairwise(words))


def test_logprobs_spell_the_text(got: dict[str, Any]) -> None:
    body = got["logprobs"]
    check("json", body)
    spelt = b"".join(bytes(map(int, token["bytes"])) for token in body["logprobs"]).decode()
    assert spelt.strip() == body["text"]
    assert all(token["logprob"] <= 0 for token in body["logprobs"])


def test_the_caller_s_voice_activity_detection_is_used(got: dict[str, Any]) -> None:
    assert right(got["server_vad"]["text"])


def test_an_english_recording_is_translated_unchanged(got: dict[str, Any]) -> None:
    assert got["translation"]["language"] == "english"
    assert right(got["translation"]["text"])


def frames(service: Running, path: str, field: str, recording: Path) -> Iterator[dict[str, Any]]:
    with (
        service.client() as client,
        recording.open("rb") as file,
        client.stream("POST", path, files={field: file}, data={"stream": "true", "language": "en"}) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("data: "):  # others are blank, or comments
                yield json.loads(line.removeprefix("data: "))


def test_a_long_recording_streams_piece_by_piece(service: Running) -> None:
    recording = speech.recording("physicsworks.wav")
    *deltas, done = frames(service, "/v1/audio/transcriptions", "file", recording)
    check("done", done)
    assert len(deltas) > 3
    assert "".join(delta["delta"] for delta in deltas) == done["text"]
    assert "conservation of mechanical energy" in done["text"].lower()
    assert done["usage"]["output_tokens"] > 300


def test_the_native_stream_ends_with_the_answer_of_transcribe(service: Running) -> None:
    *parts, last = frames(service, "/transcribe/stream", "audio_file", speech.jfk())
    assert "".join(part["text"] for part in parts) == last["text"]
    assert right(last["text"])
    assert last["success"] is True


def test_subtitle_options_break_real_speech(service: Running) -> None:
    fields = {"response_format": "srt", "max_line_width": "30", "max_line_count": "2"}
    with service.client() as client, speech.jfk().open("rb") as file:
        answer = client.post("/v1/audio/transcriptions", files={"file": file}, data=fields)
    cues = list(srt.parse(answer.text, ignore_errors=False))
    assert len(cues) > 1
    assert all(len(line) <= 30 for cue in cues for line in cue.content.splitlines())
    assert all(cue.end <= after.start for cue, after in pairwise(cues))
    assert right(" ".join(cue.content for cue in cues))


def test_bazarr_s_headerless_samples_become_subtitles_and_a_language(service: Running) -> None:
    samples = decode(speech.jfk().read_bytes(), 60).samples
    pcm = (samples * 32767).astype(np.dtype("<i2")).tobytes()
    with service.client() as client:
        detected = client.post("/detect-language?encode=false", files={"audio_file": pcm}).json()
        query = f"/asr?task=transcribe&language={detected['language_code']}&output=srt&encode=false"
        subtitles = client.post(query, files={"audio_file": pcm})
    assert (detected["detected_language"], detected["language_code"]) == ("english", "en")
    assert 0.5 < detected["confidence"] <= 1
    assert subtitles.headers["asr-engine"] in ENGINES  # not "auto"
    assert right(" ".join(cue.content for cue in srt.parse(subtitles.text, ignore_errors=False)))
