"""A model replica that hangs, paused or held by a window: its callers are answered by another one."""

import json
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import wav
from tests.faults.test_deaths import MODEL, named
from tests.support.service import FAKE, Running, started, wait_until
from whisper_serve.telemetry.metrics import HEDGES

CALLERS = 4
DIED = "a model replica died with a window in flight"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("hangs") / "service.log"
    with started(FAKE | {"SERVER__DEDICATED_CPU": "false", "LOGGING__FILE": str(log)}) as running:
        yield running.wait_until_ready()


@contextmanager
def paused(process: psutil.Process) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def post(
    service: Running, seconds: float, prompt: str = "", level: float = 0.5
) -> tuple[httpx.Response, float]:
    """The answer, and after how many seconds it came."""
    began = time.monotonic()
    with service.client() as client:
        answer = client.post(
            "/transcribe",
            files={"audio_file": ("a.wav", wav(seconds, level=level))},
            data={"language": "en", "prompt": prompt},
        )
    return answer, time.monotonic() - began


def log_lines(service: Running, message: str) -> list[dict[str, Any]]:
    log = Path(service.env["WHISPER_SERVE__LOGGING__FILE"])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["message"] == message]


def hedges(service: Running) -> float:
    with service.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(HEDGES.exported))


def test_a_paused_replica_holds_no_caller(service: Running, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        assert post(service, 1)[0].status_code == 200
    slowest = 0.0
    with paused(named(service, MODEL)[0]), ThreadPoolExecutor(CALLERS) as callers:
        for _ in range(3):
            for answer, took in callers.map(lambda n: post(service, 2 + n / 10), range(CALLERS)):
                assert answer.status_code == 200, answer.text
                slowest = max(slowest, took)
    with capsys.disabled():
        print(f"\nthe slowest answer beside a paused replica took {slowest:.1f} s")
    assert slowest < 8
    wait_until(lambda: hedges(service) > 0, 40)
    assert log_lines(service, DIED) == []


def test_a_window_that_holds_its_replicas_and_then_kills_them_kills_two(service: Running) -> None:
    wait_until(lambda: len(named(service, MODEL)) == 2, 60)
    before = len(log_lines(service, "model loaded"))
    answer, _ = post(service, 7.3, "linger 3", level=random.uniform(0.1, 0.9))  # unknown to the journal
    assert answer.status_code == 500
    assert "2 model replicas died" in answer.json()["error"]
    wait_until(lambda: len(log_lines(service, "model loaded")) == before + 2, 60)
    assert [line["deaths"] for line in log_lines(service, DIED)] == [1, 2]
    assert post(service, 1)[0].status_code == 200
