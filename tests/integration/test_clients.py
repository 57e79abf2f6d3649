"""OpenAI's clients, and requests of others as they put them on the wire, against the fake engine."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients import CLIENTS, results
from tests.clients.captured import CAPTURED
from tests.conftest import wav
from tests.support.openai_schema import check
from tests.support.service import FAKE, Running, started, wait_until

TEXT = "2.0 seconds at 0.0, batch of 1."


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("logs") / "service.log"
    settings = {"LOGGING__FILE": str(log), "SERVER__SSE_KEEPALIVE_S": "0.1"}
    with started(FAKE | settings) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="module", params=CLIENTS)
def got(
    request: pytest.FixtureRequest, service: Running, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What an official client was answered, call by call."""
    recording = tmp_path_factory.mktemp("recordings") / "two seconds.wav"
    recording.write_bytes(wav(2))
    answers = results(request.param, service.url, recording)
    assert request.param.endswith(answers["version"])
    return answers


def test_an_official_client_gets_all_it_asks_for(got: dict[str, Any]) -> None:
    assert got["json"]["text"] == got["logprobs"]["text"] == got["text"] == TEXT
    assert got["server_vad"]["text"] == ""  # a tone is no speech
    verbose = got["verbose_json"]
    assert (verbose["language"], verbose["duration"], len(verbose["segments"])) == ("english", 2.0, 1)
    assert verbose["words"][0] == {"word": "2.0", "start": 0.0, "end": 0.286}
    assert got["srt"] == f"1\n00:00:00,000 --> 00:00:02,000\n{TEXT}\n"
    assert got["vtt"].startswith("WEBVTT\n")
    assert got["translation"]["language"] == "english"
    assert [model["id"] for model in got["models"]][:2] == ["base", "whisper-1"]
    assert got["model"]["id"] == "Systran/faster-whisper-base"


@pytest.mark.parametrize("call", ["stream", "slow_stream"])
def test_an_official_client_reads_the_stream(got: dict[str, Any], call: str) -> None:
    """The slow one has comments before its events."""
    assert [event["type"] for event in got[call]] == ["transcript.text.delta", "transcript.text.done"]
    assert got[call][0]["delta"] == got[call][1]["text"] == TEXT


def test_an_official_client_understands_the_errors(got: dict[str, Any]) -> None:
    wrong = {name: got[name]["error"] for name in ("wrong_model", "wrong_words", "wrong_file")}
    assert [error["status"] for error in wrong.values()] == [404, 400, 400]
    assert (wrong["wrong_model"]["param"], wrong["wrong_model"]["code"]) == ("model", "model_not_found")
    assert wrong["wrong_words"]["param"] == "timestamp_granularities[]"
    assert "no audio or video" in wrong["wrong_file"]["message"]


def exchange(service: Running, request: bytes) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer to raw bytes."""
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split(" ")[1]), headers, body.decode()


@pytest.mark.parametrize("captured", CAPTURED)
def test_a_captured_request_is_answered(service: Running, captured: str) -> None:
    status, headers, body = exchange(service, CAPTURED[captured].request(wav(2)))
    assert status == 200, body
    assert TEXT in body
    if headers["content-type"].startswith("text/event-stream"):
        assert "event: transcript.text.done\ndata: " in body
        return
    assert headers["x-audio-seconds"] == "2.000"
    if "verbose" in captured:
        check("verbose_json", json.loads(body))
        assert json.loads(body)["duration"] == 2.0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nowhere", 404), ("GET", "/v1/audio/transcriptions", 405), ("POST", "/v1/models", 405)],
)
def test_ray_leaves_the_errors_their_shape(service: Running, method: str, path: str, status: int) -> None:
    with service.client() as client:
        answer = client.request(method, path, headers={"x-request-id": "mine-1"})
    check("error", answer.json())
    assert answer.status_code == status
    assert answer.headers.get_list("x-request-id") == ["mine-1"]


def test_a_model_failure_is_not_tried_again(service: Running) -> None:
    with service.client() as client:
        answer = client.post(
            "/v1/audio/transcriptions", files={"file": ("a", wav(1))}, data={"prompt": "explode"}
        )
    check("error", answer.json())
    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
    assert answer.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/transcribe/stream"])
def test_a_stream_is_kept_open_and_stops_when_its_caller_leaves(service: Running, path: str) -> None:
    fields = {"stream": "true", "use_parallel": "false", "language": "en", "prompt": "slow 0.4"}
    recording = wav(600, rate=4000)
    name = "audio_file" if path.startswith("/transcribe") else "file"
    id = f"leaves{path.replace('/', '-')}"
    with (
        service.client() as client,
        client.stream(
            "POST", path, files={name: ("a", recording)}, data=fields, headers={"x-request-id": id}
        ) as answer,
    ):
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines) == ": keep-alive"
        assert next(line for line in lines if line.startswith("data: ")).startswith("data: {")
    wait_until(lambda: logged(service, id))
    assert logged(service, id)[0]["seconds"] < 6  # all of it would take 8 s or more


def logged(service: Running, id: str) -> list[dict[str, float]]:
    lines = Path(service.env["WHISPER_SERVE__LOGGING__FILE"]).read_text().splitlines()
    return [line for line in map(json.loads, lines) if line.get("request_id") == id]


def test_after_an_upload_that_breaks_off_the_service_answers(service: Running) -> None:
    request = CAPTURED["openai-python: the file last"].request(wav(2))
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request[: len(request) // 2])
    with httpx.Client(base_url=service.url) as client:
        assert client.get("/healthz").status_code == 200
