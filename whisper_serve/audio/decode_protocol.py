"""What the ingress and its decoding processes say to each other: lines of JSON, with descriptors where noted.

    to the fork server    {"fork": true}, a worker's socket and memory    {"pid": 12}
                          {"end": 12}                                     {"status": -9}
    to a worker           a Job, a file unless it is in the inbox         {"samples": 480000, "channels": 1, "end": false}
                                                                          for each full half of its memory, then
                                                                          {"samples": 1000, "channels": 1, "end": true}, or {"error": "BadAudio",
                                                                          "message": "…"}
                          READ: a half that was full has been copied

A worker's memory is shared: two halves of float32 samples, those of several channels in turns,
which are filled in turns, and an inbox for a small file.
JSON, since a worker may be under the control of the file that it decodes: what it says is text and numbers at most.
"""

import json
import socket
from dataclasses import dataclass
from typing import Any

from whisper_serve.audio.decode import DecodeOptions
from whisper_serve.errors import BadAudio, BadRequest, TooLarge
from whisper_serve.types import SAMPLE_RATE

HALF = 30 * SAMPLE_RATE  # samples
HALF_BYTES = HALF * 4
INBOX = 2 * HALF_BYTES  # where it begins
INBOX_BYTES = 1 << 20  # larger uploads are in files anyway
SHARED_BYTES = INBOX + INBOX_BYTES
LINE = 1 << 16  # bytes; no message is longer
READ = b"\n"
OUT_OF_MEMORY = 3  # a worker's exit code
ERRORS = {error.__name__: error for error in (BadAudio, BadRequest, TooLarge)}

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is asked to decode, beside the file itself."""

    size: int  # bytes
    options: DecodeOptions
    cpu_s: float
    cpu_s_per_audio_s: float
    memory: int  # bytes beyond what the worker has


def send(sock: socket.socket, message: Message, descriptors: tuple[int, ...] = ()) -> None:
    """Raises OSError where the other side is gone."""
    socket.send_fds(sock, [json.dumps(message).encode() + b"\n"], descriptors)


def receive(sock: socket.socket, descriptors: int = 0) -> tuple[Message, list[int]]:
    """The next message, to which the other side waits for an answer; empty where it is gone."""
    line, fds, _, _ = socket.recv_fds(sock, LINE, descriptors)
    return (json.loads(line) if line else {}), fds
