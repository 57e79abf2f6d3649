"""Files that keep a decoder busy or eat memory, sent again and again, while another caller posts an ordinary clip."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psutil
import pytest

from tests.conftest import wav
from tests.support.hostile_audio import FILES
from tests.support.service import FAKE, Running, memory_mb, started, wait_until

ATTACKERS = 4
ATTACK_S = 8.0
DECODER = "whisper_serve.audio.decode_process"


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with started(FAKE | {"SERVER__MAX_DECODES": "2"}) as running:
        yield running.wait_until_ready()


def post(service: Running, data: bytes) -> httpx.Response:
    with service.client() as client:
        return client.post("/transcribe", files={"audio_file": ("a", data)})


def decoders(service: Running) -> list[psutil.Process]:
    """Worker processes, without the fork servers."""
    found = []
    for process in service.processes():
        with suppress(psutil.Error):
            parent = process.parent()
            if DECODER in process.cmdline() and parent and DECODER in parent.cmdline():
                found.append(process)
    return found


def busy(service: Running) -> psutil.Process:
    """The worker that is decoding."""
    found: list[psutil.Process] = []

    def at_work() -> list[psutil.Process]:
        with suppress(psutil.Error):
            found[:] = [p for p in decoders(service) if p.status() == psutil.STATUS_RUNNING]
        return found

    wait_until(at_work)
    return found[0]


@pytest.mark.parametrize("name", FILES)
def test_an_ordinary_clip_is_answered_beside_files_that_cost_much(
    service: Running, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, clip, done = FILES[name](), wav(10), threading.Event()
    waits, answers = [], Counter[int]()

    def attack() -> None:
        while not done.is_set():
            answers[post(service, data).status_code] += 1

    with ThreadPoolExecutor(ATTACKERS) as threads:
        attackers = [threads.submit(attack) for _ in range(ATTACKERS)]
        until, memory = time.monotonic() + ATTACK_S, 0.0
        while time.monotonic() < until:
            began = time.monotonic()
            answer = post(service, clip)
            waits.append(time.monotonic() - began)
            assert answer.status_code == 200, answer.text
            memory = max(memory, memory_mb(service))
        done.set()
    for attacker in attackers:
        attacker.result()
    with capsys.disabled():
        print(
            f"\n{name}, {ATTACKERS} attackers: {len(waits)} others answered, longest wait {max(waits):.2f} s; "
            f"attackers {dict(answers)}; {memory:.0f} MB"
        )
    assert set(answers) <= {400, 413, 429}
