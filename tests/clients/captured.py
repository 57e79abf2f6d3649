"""Requests as real clients put them on the wire, for replay byte by byte."""

from collections.abc import Mapping
from dataclasses import dataclass, field

BOUNDARY = "0fa3c7f1e09d"
FILE = "file"  # stands for the recording among a request's parts


@dataclass(frozen=True, slots=True)
class Captured:
    parts: tuple[tuple[str, str], ...]  # name and value, in order; FILE's value is the rest of its headers
    path: str = "/v1/audio/transcriptions"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False  # without a Content-Length
    dotnet: bool = False  # as .NET writes parts: the type first, and no quotes

    def request(self, recording: bytes) -> bytes:
        write = dotnet_part if self.dotnet else part
        body = b"".join(write(name, value, recording) for name, value in self.parts)
        body += f"--{BOUNDARY}--\r\n".encode()
        headers = {
            "host": "localhost",
            "connection": "close",
            "content-type": f"multipart/form-data; boundary={BOUNDARY}",
            **self.headers,
            **({"transfer-encoding": "chunked"} if self.chunked else {"content-length": str(len(body))}),
        }
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + (in_chunks(body) if self.chunked else body)


def part(name: str, value: str, recording: bytes) -> bytes:
    start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
    if name in (FILE, "audio_file"):
        return start + f"; {value}\r\n\r\n".encode() + recording + b"\r\n"
    return start + f"\r\n\r\n{value}\r\n".encode()


def dotnet_part(name: str, value: str, recording: bytes) -> bytes:
    """value: of a file its name."""
    if name == FILE:
        start = f"Content-Type: audio/wav\r\nContent-Disposition: form-data; name=file; filename={value}; filename*=utf-8''{value}"
        content = recording
    else:
        start = f"Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name={name}"
        content = value.encode()
    return f"--{BOUNDARY}\r\n{start}\r\n\r\n".encode() + content + b"\r\n"


def in_chunks(body: bytes, size: int = 10_007) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def typed(filename: str, content_type: str) -> str:
    return f'filename="{filename}"\r\nContent-Type: {content_type}'


CAPTURED = {
    "openai-python: the file last": Captured(
        (("model", "whisper-1"), ("response_format", "json"), (FILE, typed("jfk.wav", "audio/x-wav"))),
        headers={
            "accept": "application/json",
            "x-stainless-read-timeout": "600",
            "x-stainless-retry-count": "0",
        },
    ),
    "openai-node: chunked, the file first": Captured(
        ((FILE, typed("jfk.wav", "application/octet-stream")), ("model", "whisper-1")), chunked=True
    ),
    "LiteLLM: adds verbose_json": Captured(
        (
            ("model", "whisper-1"),
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "segment"),
            (FILE, typed("audio.wav", "audio/wav")),
        )
    ),
    "Open WebUI: a streamed file, no language": Captured(
        (("model", "whisper-1"), (FILE, 'filename="7f0c.webm"')), chunked=True
    ),
    "Home Assistant: a.wav, language and prompt": Captured(
        (
            ("model", "whisper-1"),
            ("language", "en"),
            ("prompt", ""),
            ("temperature", "0.0"),
            (FILE, typed("a.wav", "audio/wav")),
        )
    ),
    "Subtitle Edit: segment and word": Captured(
        (
            (FILE, typed("clip 1 (ä).mp3", "audio/mpeg")),
            ("model", "whisper-1"),
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "segment"),
            ("timestamp_granularities[]", "word"),
        )
    ),
    "whisper.cpp's k6 script: no model": Captured(
        ((FILE, typed("jfk.wav", "audio/wav")), ("temperature", "0.0"), ("response_format", "json"))
    ),
    "no content type, an empty file name, unknown fields": Captured(
        (("unknown", "1"), (FILE, 'filename=""'), ("known_speaker_names[]", "x"), ("timestamp", "word")),
    ),
    "srt, though JSON is accepted": Captured(
        (("response_format", "srt"), (FILE, typed("blob", "application/octet-stream"))),
        headers={"accept": "application/json"},
    ),
    "Subtitle Edit 5: a stream, after its source": Captured(
        (
            (FILE, "clip.wav"),
            ("model", "whisper-1"),
            ("language", "en"),
            ("response_format", "json"),
            ('"timestamp_granularities[]"', "segment"),
            ('"timestamp_granularities[]"', "word"),
            ("stream", "true"),
        ),
        dotnet=True,
    ),
    "whisper.cpp's server: /inference, as its page says": Captured(
        (
            (FILE, typed("jfk.wav", "audio/wav")),
            ("temperature", "0.0"),
            ("temperature_inc", "0.2"),
            ("no_speech_thold", "0.6"),
            ("response_format", "json"),
        ),
        path="/inference",
        headers={"user-agent": "curl/8.5.0", "accept": "*/*"},
    ),
    "Speakr: /asr in json with speakers, after its source": Captured(
        (("audio_file", typed("memo.wav", "audio/wav")),),
        path="/asr?encode=true&task=transcribe&output=json&language=en&diarize=true&enable_diarization=true",
        headers={"accept": "*/*", "accept-encoding": "gzip, deflate"},
    ),
    "Bazarr: /asr": Captured(
        (("audio_file", 'filename="audio_file"'),), path="/asr?task=transcribe&language=en&output=srt"
    ),
}
