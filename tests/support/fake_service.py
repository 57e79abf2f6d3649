"""A transcription service whose latency is known: what the load test is tested against."""

import json
import re
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

WORDS = {"a.wav": "one two three four", "b.wav": "five six seven eight nine"}


class Fake:
    """A service with `workers` who each take latency_s for a request, and what goes wrong with the n-th of them."""

    def __init__(
        self, workers: int = 2, latency_s: float = 0.05, fault: Callable[[int], str] = lambda _number: ""
    ) -> None:
        self.latency_s = latency_s
        self.fault = fault  # request number -> wrong, error, refused, or nothing
        self.numbers = count(1)
        self.free = threading.Semaphore(workers)


class Handler(BaseHTTPRequestHandler):
    """Speaks all four dialects."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    fake: Fake

    def do_GET(self) -> None:
        self.send(200, b'{"models": ["fake-base", "whisper-1"]}', {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.fake.fault(next(self.fake.numbers))
        arrived = time.perf_counter()
        with self.fake.free:
            queue_ms = (time.perf_counter() - arrived) * 1000
            time.sleep(self.fake.latency_s)
        self.answer(body, fault, queue_ms)

    def answer(self, body: bytes, fault: str, queue_ms: float) -> None:
        name = re.search(rb'filename="([^"]+)"', body)
        assert name
        text = "thanks for watching" if fault == "wrong" else WORDS[name[1].decode()]
        if fault == "refused":
            self.send(429, b"{}", {"Retry-After": "1"})
        elif fault == "error":
            self.send(500, b'{"success": false}', {})
        elif b'name="stream"' in body:
            self.send(200, as_events(text), {"Content-Type": "text/event-stream"})
        else:
            answer = {"success": True, "text": text, "error": None}
            timings = {"x-queue-ms": f"{queue_ms:.1f}", "x-inference-ms": f"{self.fake.latency_s * 1000:.1f}"}
            timings |= {"x-batch-windows": "2", "x-batch-seconds": "4.0"}
            self.send(200, json.dumps(answer).encode(), timings)

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def as_events(text: str) -> bytes:
    head, rest = text[:4], text[4:]
    events: list[dict[str, str]] = [{"type": "transcript.text.delta", "delta": part} for part in (head, rest)]
    events.append({"type": "transcript.text.done", "text": text})
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


@contextmanager
def serving(fake: Fake) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), type("HandlerOfFake", (Handler,), {"fake": fake}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_clips(folder: Path) -> None:
    """Two recordings whose words the fake knows, and their manifest."""
    entries = []
    for name, text in WORDS.items():
        with wave.open(str(folder / name), "wb") as sound:
            sound.setparams((1, 2, 16_000, 0, "NONE", ""))
            sound.writeframes(bytes(64_000))
        entries.append(json.dumps({"path": name, "transcript": text}))
    (folder / "manifest.jsonl").write_text("\n".join(entries))
