"""Calls of openai-python, old and new, to a base URL with a recording; prints one JSON object of answers."""

import json
import sys
from collections.abc import Callable
from typing import Any

import openai

url, path = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key="none", timeout=60)
audio, WHISPER = client.audio, "whisper-1"


def transcribe(**fields: Any) -> Any:
    with open(path, "rb") as file:
        return audio.transcriptions.create(file=file, model=fields.pop("model", WHISPER), **fields)


def translate(**fields: Any) -> Any:
    with open(path, "rb") as file:
        return audio.translations.create(file=file, model=WHISPER, **fields)


def plain(answer: Any) -> Any:
    if isinstance(answer, str):
        return answer
    return answer.model_dump() if hasattr(answer, "model_dump") else [event.model_dump() for event in answer]


def broken() -> Any:
    return audio.transcriptions.create(file=("a.mp3", b"not a recording"), model=WHISPER)


CALLS: dict[str, Callable[[], Any]] = {
    "version": lambda: openai.__version__,
    "json": lambda: transcribe(),
    "logprobs": lambda: transcribe(response_format="json", include=["logprobs"]),
    "verbose_json": lambda: transcribe(
        response_format="verbose_json", timestamp_granularities=["word", "segment"], language="en"
    ),
    "text": lambda: transcribe(response_format="text"),
    "srt": lambda: transcribe(response_format="srt", prompt="Kennedy"),
    "vtt": lambda: transcribe(response_format="vtt", temperature=0),
    "server_vad": lambda: transcribe(chunking_strategy={"type": "server_vad", "threshold": 0.4}),
    "stream": lambda: transcribe(stream=True),
    "slow_stream": lambda: transcribe(stream=True, prompt="slow 1"),  # so that comments come before events
    "translation": lambda: translate(response_format="verbose_json"),
    "models": lambda: client.models.list().data,
    "model": lambda: client.models.retrieve("Systran/faster-whisper-base"),
    "wrong_model": lambda: transcribe(model="whisper-9"),
    "wrong_words": lambda: transcribe(response_format="srt", timestamp_granularities=["word"]),
    "wrong_file": broken,
}


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return plain(call())
    except openai.APIStatusError as e:
        return {"error": {"status": e.status_code, "message": e.message, **(e.body or {})}}  # type: ignore[dict-item]


print(json.dumps({name: outcome(call) for name, call in CALLS.items()}))
