"""Files that keep a decoder busy or eat memory, sent again and again, while another caller posts an ordinary clip."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psutil
import pytest

from tests.conftest import wav
from tests.support import hostile_audio
from tests.support.service import FAKE, Running, started, wait_until

ATTACKERS = 4
ATTACK_S = 6.0
DECODER = "whisper_serve.audio.decode_process"
FILES = hostile_audio.FILES | {
    "matroska-private.mkv": lambda: hostile_audio.matroska_with_private(50_000_000)
}


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    # A large file is taken for hours of sound until it is decoded: here the queue has room for that.
    with started(FAKE | {"SERVER__MAX_DECODES": "2", "SERVER__MAX_QUEUED_AUDIO_S": "1e6"}) as running:
        yield running.wait_until_ready()


def post(service: Running, data: bytes) -> httpx.Response:
    with service.client() as client:
        return client.post("/transcribe", files={"audio_file": ("a", data)})


def decoders(service: Running) -> list[psutil.Process]:
    """Fork servers and workers."""
    found = []
    for process in service.processes():
        with suppress(psutil.Error):
            if DECODER in process.cmdline():
                found.append(process)
    return found


@pytest.mark.parametrize("name", FILES)
def test_an_ordinary_clip_is_answered_beside_files_that_cost_much(
    service: Running, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, clip, done = FILES[name](), wav(10), threading.Event()
    waits_s, told = list[float](), Counter[int]()

    def attack() -> None:
        while not done.is_set():
            told[post(service, data).status_code] += 1

    with ThreadPoolExecutor(ATTACKERS) as threads:
        attackers = [threads.submit(attack) for _ in range(ATTACKERS)]
        until, statuses = time.monotonic() + ATTACK_S, set[int]()
        try:
            while time.monotonic() < until:
                began = time.monotonic()
                statuses.add(post(service, clip).status_code)
                waits_s.append(time.monotonic() - began)
        finally:
            done.set()
    for attacker in attackers:
        attacker.result()
    largest = max((p.memory_full_info().uss for p in decoders(service)), default=0) / 1e6
    with capsys.disabled():
        print(
            f"\n{name}, {ATTACKERS} attackers: {len(waits_s)} clips answered, longest wait {max(waits_s):.2f} s; "
            f"attackers were told {dict(told)}; a decoder has {largest:.0f} MB at most"
        )
    assert statuses == {200}
    assert set(told) <= {400, 429, 504}  # the last where the CPUs are busy with something else
    assert largest < 64


@pytest.mark.parametrize(
    "of", [decoders, lambda s: [p.parent() for p in decoders(s)]], ids=["decoder", "parent"]
)
def test_a_recording_is_decoded_after_all_that_decode_were_killed(
    service: Running, of: Callable[[Running], list[psutil.Process]]
) -> None:
    """Their parents are fork servers, and the ingress."""
    before = decoders(service)
    for process in set(of(service)):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not set(before) & set(decoders(service)), 60)

    def answered() -> bool:
        with suppress(httpx.TransportError):
            return post(service, wav(1)).status_code == 200
        return False

    wait_until(answered, 60)
