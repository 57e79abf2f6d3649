"""Dialects of the service, one row each: the request body that posts a clip, and how an answer's body is read.

To add a dialect: a reader, a row in PROTOCOLS, and a user class in load/users.py.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from urllib3.filepost import encode_multipart_formdata

from loadtest.common.clips import Clip


class BadAnswer(ValueError):
    """The body is not what the dialect promises; the message says how."""


@dataclass(frozen=True, slots=True)
class Protocol:
    path: str
    file_field: str
    read: Callable[[bytes], str]  # the answer's body -> its text; raises BadAnswer
    form: tuple[tuple[str, str], ...] = ()
    streams: bool = False  # the time to the first words is measured too


@dataclass(frozen=True, slots=True)
class Body:
    data: bytes
    content_type: str


@lru_cache(maxsize=1024)
def body_of(protocol: Protocol, clip: Clip) -> Body:
    """The multipart body that posts a clip; built once, so that the client costs little."""
    file = (clip.name, clip.path.read_bytes(), "application/octet-stream")
    return Body(*encode_multipart_formdata({**dict(protocol.form), protocol.file_field: file}))


def read_native(body: bytes) -> str:
    answer = _json(body)
    if answer.get("success") is not True or answer.get("error") is not None:
        raise BadAnswer(f"no success: {answer.get('error')}")
    return _text(answer, "text")


def read_json(body: bytes) -> str:
    return _text(_json(body), "text")


def read_events(body: bytes) -> str:
    """The words of an OpenAI event stream; its deltas must be the text of its last event."""
    deltas, done = [], None
    for frame in body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n\n"):
        if not frame.strip() or frame.startswith(":"):  # a comment keeps a silent stream open
            continue
        data = frame[frame.find("data:") :]  # after the event's name, where it has one
        event = _json(data.removeprefix("data:").encode())
        if event.get("type") == "transcript.text.delta":
            deltas.append(_text(event, "delta"))
        elif event.get("type") == "transcript.text.done":
            done = _text(event, "text")
        elif "error" in event:
            raise BadAnswer(f"error in the stream: {event['error']}")
    if done is None:
        raise BadAnswer("the stream ended without transcript.text.done")
    if "".join(deltas) != done:
        raise BadAnswer("the deltas of the stream are not its text")
    return done


def _json(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError as e:
        raise BadAnswer(f"no JSON: {body[:80]!r}") from e
    if not isinstance(answer, dict):
        raise BadAnswer(f"no JSON object: {body[:80]!r}")
    return answer


def _text(answer: dict[str, Any], key: str) -> str:
    text = answer.get(key)
    if not isinstance(text, str):
        raise BadAnswer(f"no {key!r} in {sorted(answer)}")
    return text


_OPENAI = "/v1/audio/transcriptions"
_MODEL = ("model", "whisper-1")

PROTOCOLS = {
    "transcribe": Protocol("/transcribe", "audio_file", read_native),
    "openai": Protocol(_OPENAI, "file", read_json, (_MODEL,)),
    "sse": Protocol(_OPENAI, "file", read_events, (_MODEL, ("stream", "true")), streams=True),
    "asr": Protocol("/asr?output=json", "audio_file", read_json),
}
