"""How the service is stopped: by a person, a supervisor, a process group, a control group; while it starts, serves or changes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import wav
from tests.support.service import FAKE, FAKE_ENGINE, Running, command_of, started, wait_until
from whisper_serve.engines import FAKE_VARIABLE

ONE_REPLICA = FAKE | {"DEPLOYMENT__NUM_REPLICAS": "1"}
LONG_S = 100.0  # of audio: four windows, one after the other
SLOW_TO_LOAD = f"{FAKE_ENGINE.partition(':')[0]}:SlowToLoad"


def post(service: Running, seconds: float, prompt: str = "", **fields: str) -> httpx.Response:
    files = {"audio_file": ("a.wav", wav(seconds, rate=1000))}
    with service.client() as client:
        return client.post("/transcribe", files=files, data={"language": "en", "prompt": prompt, **fields})


@contextmanager
def long_request(service: Running, folder: Path, window_s: float = 1.5) -> Iterator[Future[httpx.Response]]:
    """A recording of several windows, the first of which is being transcribed; the others are sent after it, one by one."""
    begun = folder / f"begun-{time.monotonic_ns()}"
    with ThreadPoolExecutor(1) as pool:
        prompt = f"slow {window_s} {begun}"
        answer = pool.submit(post, service, LONG_S, prompt, use_parallel="false")
        wait_until(begun.exists)
        yield answer


def ended_within(service: Running, seconds: float) -> int:
    """Its exit code. Nothing of it is left."""
    code = service.wait(seconds)
    wait_until(lambda: not service.processes(), 5)
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_a_recording_that_still_needs_its_replica(number: int, tmp_path: Path) -> None:
    with started(ONE_REPLICA) as service:
        with long_request(service.wait_until_ready(), tmp_path) as answer:
            service.signal(number)
            assert answer.result().status_code == 200
        assert ended_within(service, 20) == 0, service.output
    assert "Traceback" not in service.output


def test_a_stop_to_the_whole_process_group_answers_running_requests(tmp_path: Path) -> None:
    with started(ONE_REPLICA, "setsid", sys.executable, "main.py") as service:
        with long_request(service.wait_until_ready(), tmp_path) as answer:
            os.killpg(service.process.pid, signal.SIGTERM)
            assert answer.result().status_code == 200
        assert ended_within(service, 20) == 0, service.output


def test_make_run_passes_a_stop_on(tmp_path: Path) -> None:
    with started(ONE_REPLICA, "make", "run") as service:
        with long_request(service.wait_until_ready(), tmp_path) as answer:
            service.process.send_signal(signal.SIGTERM)
            assert answer.result().status_code == 200
        service.process.wait(20)
        wait_until(lambda: not service.processes(), 5)


def test_a_stop_to_every_process_at_once_ends_within_5_seconds_and_says_what_was_lost(tmp_path: Path) -> None:
    with started(ONE_REPLICA) as service, long_request(service.wait_until_ready(), tmp_path):
        for process in service.processes():  # as systemd does with KillMode=control-group
            process.send_signal(signal.SIGTERM)
        assert ended_within(service, 5) == 1, service.output
    assert "Ray ended before the service had stopped; running requests are lost" in service.output


def test_requests_that_take_longer_than_the_drain_are_counted_and_the_exit_code_says_so(
    tmp_path: Path,
) -> None:
    settings = ONE_REPLICA | {"SERVER__DRAIN_TIMEOUT_S": "1"}
    with started(settings) as service, long_request(service.wait_until_ready(), tmp_path, window_s=5):
        service.signal(signal.SIGTERM)
        assert ended_within(service, 20) == 1
    assert "1 requests still ran after 1 s and are lost" in service.output


def test_while_it_stops_readyz_and_new_requests_are_503_and_watchers_are_answered(tmp_path: Path) -> None:
    with started(ONE_REPLICA) as service:
        with long_request(service.wait_until_ready(), tmp_path, window_s=4) as answer:
            service.signal(signal.SIGTERM)
            wait_until(lambda: httpx.get(f"{service.url}/readyz").status_code == 503)
            wait_until(lambda: post(service, 1).status_code == 503)
            refused = post(service, 1)
            assert "the service is stopping" in refused.json()["error"]
            assert int(refused.headers["retry-after"]) >= 1
            unknown = httpx.get(f"{service.url}/capabilities")
            assert unknown.status_code == 503
            assert httpx.get(f"{service.url}/healthz").status_code == 200
            assert answer.result().status_code == 200
        assert ended_within(service, 20) == 0


def test_with_a_delay_requests_are_accepted_after_readyz_says_503(tmp_path: Path) -> None:
    with started(ONE_REPLICA | {"SERVER__DRAIN_DELAY_S": "3"}) as service:
        service.wait_until_ready()
        service.signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{service.url}/readyz").status_code == 503)
        assert post(service, 1).status_code == 200
        assert ended_within(service, 20) == 0


def test_a_stop_while_the_model_loads_takes_effect_at_once() -> None:
    with slow_to_load() as service:
        service.signal(signal.SIGTERM)
        assert ended_within(service, 10) == 0, service.output
    assert "stopped before it was ready" in service.output
    assert "Traceback" not in service.output


@contextmanager
def slow_to_load() -> Iterator[Running]:
    """A service whose model replica is being started, and takes a minute."""
    with started(ONE_REPLICA, **{FAKE_VARIABLE: SLOW_TO_LOAD}) as service:
        wait_until(lambda: named(service, "ray::ServeReplica:default:Model"), 60)
        yield service


def named(service: Running, name: str) -> list[psutil.Process]:
    titles = {p.pid: " ".join(command_of(p)) for p in service.processes()}
    return [
        psutil.Process(pid)
        for pid, title in titles.items()
        if Path(title.partition(" ")[0]).name.startswith(name)
    ]


@pytest.mark.parametrize("moment", ["raylet", "gcs_server"])
def test_a_stop_while_ray_starts_takes_effect_at_once(moment: str) -> None:
    with started(ONE_REPLICA) as service:
        wait_until(lambda: named(service, moment), 60)
        service.signal(signal.SIGTERM)
        assert ended_within(service, 10) == 0, service.output
    assert "stopped before it was ready" in service.output


def test_when_the_raylet_dies_while_the_model_loads_a_stop_still_takes_effect() -> None:
    with slow_to_load() as service:
        service.signal(signal.SIGTERM)
        named(service, "raylet")[0].kill()
        assert ended_within(service, 10) in (0, 1), service.output


def test_a_second_ctrl_c_ends_everything_within_3_seconds(tmp_path: Path) -> None:
    with started(ONE_REPLICA) as service, long_request(service.wait_until_ready(), tmp_path, window_s=10):
        service.signal(signal.SIGINT)
        wait_until(lambda: "is stopping" in service.output)
        service.signal(signal.SIGINT)
        assert ended_within(service, 3) == 130
    assert "stopped at once: running requests are lost" in service.output


def test_a_stop_while_the_configuration_changes_answers_running_requests(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text("{}")
    with started(ONE_REPLICA, sys.executable, "main.py", "--config", str(config)) as service:
        with long_request(service.wait_until_ready(), tmp_path) as answer:
            config.write_text('{"quality": {"filters": []}, "server": {"max_upload_mb": 7}}')
            before = {p.pid for p in named(service, "ray::ServeReplica:default:Ingress")}
            service.signal(signal.SIGHUP)
            wait_until(
                lambda: {p.pid for p in named(service, "ray::ServeReplica:default:Ingress")} - before, 30
            )
            service.signal(signal.SIGTERM)
            assert answer.result().status_code == 200
        assert ended_within(service, 30) == 0, service.output


def test_systemd_is_told_when_the_service_is_ready_changes_and_stops(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(address))
        told.settimeout(60)
        with started(ONE_REPLICA, NOTIFY_SOCKET=str(address)) as service:
            assert told.recv(100) == b"READY=1"
            service.signal(signal.SIGHUP)
            assert [told.recv(100), told.recv(100)] == [b"RELOADING=1", b"READY=1"]
            service.signal(signal.SIGTERM)
            assert told.recv(100) == b"STOPPING=1"
            assert ended_within(service, 20) == 0


def test_a_slow_client_gets_all_of_its_answer(tmp_path: Path) -> None:
    """Long after the ingress has answered, the proxy still sends."""
    with started(ONE_REPLICA | {"SERVER__DASHBOARD": "false"}) as service:
        service.wait_until_ready()
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            request = httpx.Request(
                "POST",
                f"{service.url}/transcribe",
                files={"audio_file": ("a.wav", wav(1))},
                data={"language": "en", "prompt": "say " + "word " * 800_000},
            )
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            client.sendall(f"POST /transcribe HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            first = client.recv(1024)
            service.signal(signal.SIGTERM)
            wait_until(lambda: "is stopping" in service.output)
            received = len(first)
            while chunk := client.recv(65536):
                received += len(chunk)
        length = int(first.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert received >= length
        assert ended_within(service, 20) == 0


def test_supervisors_unit_for_systemd_is_sound(tmp_path: Path) -> None:
    unit = Path("deploy/whisper-serve.service").read_text()
    for line in (line for line in unit.splitlines() if line.startswith("ExecStart=")):
        python, main = line.removeprefix("ExecStart=").split()[:2]
        unit = unit.replace(python, sys.executable).replace(main, str(Path("main.py").resolve()))
    file = tmp_path / "whisper-serve.service"
    file.write_text(unit)
    verified = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    security = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(file)]
    assert subprocess.run(security, capture_output=True).returncode == 0, "its exposure is above 2.0 of 10"
