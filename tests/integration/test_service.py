"""main.py as a process with a local Ray and the fake engine."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import wav
from tests.support.service import FAKE, Running, started, wait_until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("logs") / "service.log"
    settings = FAKE | {
        "LOGGING__FILE": str(log),
        "DEPLOYMENT__BATCH_WAIT_TIMEOUT_S": "0.2",
        "DEPLOYMENT__MAX_RETRIES": "1",
        "SERVER__MAX_UPLOAD_MB": "1",
    }
    with started(settings) as running:
        yield running.wait_until_ready()


def post(service: Running, seconds: float = 2, **fields: str) -> httpx.Response:
    with service.client() as client:
        return client.post("/transcribe", files={"audio_file": ("a.wav", wav(seconds))}, data=fields)


def test_it_prints_its_address_on_one_line(service: Running) -> None:
    line = next(line for line in service.lines if "is ready" in line)
    assert service.url in line


def test_a_recording_is_answered(service: Running) -> None:
    answer = post(service)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"].startswith("2.0 seconds at 0.0")


def test_requests_share_batches_and_one_that_fails_fails_alone(service: Running) -> None:
    prompts = ["", "explode"] * 8
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda prompt: post(service, language="en", prompt=prompt), prompts))
    assert [a.status_code for a in answers] == [200, 500] * 8
    batches = {int(a.json()["text"].rpartition(" ")[2].rstrip(".")) for a in answers if a.status_code == 200}
    assert max(batches) > 1
    reported = {float(a.headers["x-batch-windows"]) for a in answers if a.status_code == 200}
    assert reported == batches


def test_a_window_that_breaks_the_engine_fails_alone(service: Running) -> None:
    prompts = ["", "crash", "", ""]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda prompt: post(service, language="en", prompt=prompt), prompts))
    assert [a.status_code for a in answers] == [200, 500, 200, 200]
    assert "MemoryError" in answers[1].json()["error"]


def test_a_window_that_fails_is_sent_to_another_replica(service: Running, tmp_path: Path) -> None:
    for number in range(8):
        answer = post(service, prompt=f"spite {tmp_path / str(number)}")
        assert answer.status_code == 200, answer.text


def test_an_upload_over_the_limit_is_413(service: Running) -> None:
    assert post(service, seconds=40).status_code == 413


def test_one_request_id_is_on_the_answer_and_in_the_log_once(service: Running) -> None:
    with service.client() as client:
        answer = client.get("/health", headers={"x-request-id": "findme-1"})
    assert answer.headers.get_list("x-request-id") == ["findme-1"]
    log = Path(service.env["WHISPER_SERVE__LOGGING__FILE"])
    wait_until(lambda: lines_of("findme-1", log))
    assert [line["message"] for line in lines_of("findme-1", log)] == ["GET /health 200"]


def lines_of(request_id: str, log: Path) -> list[dict[str, str]]:
    lines = map(json.loads, log.read_text().splitlines())
    return [line for line in lines if line.get("request_id") == request_id]


def test_a_port_that_is_taken_is_one_sentence_and_exit_code_2() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with started(FAKE | {"SERVER__PORT": str(other.getsockname()[1])}) as running:
            assert running.wait() == 2
    assert "Address already in use" in running.output
    assert len(running.lines) == 1, running.output


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SERVER__PROT", "1", "did you mean server.port?"),
        ("MODEL__DEVICE", "cuda", "shows no GPU"),
        ("DEPLOYMENT__CPU_PER_REPLICA", "1000", "is 1000, but this machine has"),
    ],
)
def test_an_impossible_config_is_one_sentence_and_exit_code_2(name: str, value: str, message: str) -> None:
    with started(FAKE | {name: value}) as running:
        assert running.wait() == 2
    assert message in running.output
    assert len(running.lines) == 1, running.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_running_requests_and_leaves_no_process(number: int, tmp_path: Path) -> None:
    with started(FAKE) as running, ThreadPoolExecutor(1) as pool:
        running.wait_until_ready()
        answer = pool.submit(post, running, prompt=f"slow 4 {tmp_path / 'begun'}")
        wait_until((tmp_path / "begun").exists)
        running.signal(number)
        assert answer.result().status_code == 200
        assert running.wait() == 0, running.output
        assert running.processes() == []
    assert "Traceback" not in running.output


def test_windows_of_a_caller_who_left_are_dropped_if_not_begun(service: Running, tmp_path: Path) -> None:
    form = {"language": "en", "prompt": f"slow 1 {tmp_path / 'begun'}"}
    recording = wav(300, rate=1000)  # ten windows: ten seconds of work for one replica
    request = httpx.Request(
        "POST", f"{service.url}/transcribe", files={"audio_file": ("a", recording)}, data=form
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(
            f"POST /transcribe HTTP/1.1\r\n{head}x-request-id: left-1\r\n\r\n".encode() + request.read()
        )
        wait_until((tmp_path / "begun").exists)
    log = Path(service.env["WHISPER_SERVE__LOGGING__FILE"])
    wait_until(lambda: lines_of("left-1", log), 3)
    assert [line["message"] for line in lines_of("left-1", log)] == ["POST /transcribe 0"]
    began = time.monotonic()
    assert post(service).status_code == 200
    assert time.monotonic() - began < 4


def test_no_process_of_the_service_listens_to_other_machines(service: Running) -> None:
    sockets = [s for process in service.processes() for s in process.net_connections("inet")]
    listening = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    assert "127.0.0.1" in listening
    assert all(ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in listening), listening
