"""The only ingress is killed again and again: callers are told to try again, in their dialect, and then get their answer."""

import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import openai
import pytest

from tests.conftest import wav
from tests.faults.test_deaths import INGRESS, named
from tests.support.openai_schema import check
from tests.support.service import FAKE, Running, started, wait_until

FIELDS = {"/transcribe": "audio_file", "/v1/audio/transcriptions": "file", "/asr": "audio_file"}
CALLERS, KILLS = 8, 6


@pytest.fixture(scope="module", params=["python", "haproxy"])
def service(request: pytest.FixtureRequest) -> Iterator[Running]:
    with started(FAKE | {"SERVER__DEDICATED_CPU": "false", "SERVER__PROXY": request.param}) as running:
        yield running.wait_until_ready()


@dataclass
class Seen:
    """What callers got that heed Retry-After, and try again on nothing else."""

    statuses: Counter[int] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def judge(self, path: str, answer: httpx.Response) -> float | None:
        """Count an answer; seconds after which to try again, None for an answer to keep."""
        self.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            if "1.5 seconds at 0.0" not in answer.text:
                self.unexpected.append(answer.text)
            return None
        if answer.status_code == 503 and "retry-after" in answer.headers:
            if path.startswith("/v1/"):
                check("error", answer.json())
            else:
                assert answer.json()["success"] is False
            return float(answer.headers["retry-after"])
        self.unexpected.append(f"{answer.status_code} {answer.text}")
        return None


def call_until(stop: threading.Event, url: str, path: str, seen: Seen) -> None:
    data = wav(1.5)
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        while not stop.is_set():
            began = time.monotonic()
            wait_s: float | None = 0.0
            while wait_s is not None:
                stop.wait(wait_s)
                try:
                    answer = client.post(
                        path, files={FIELDS[path]: ("a.wav", data)}, data={"prompt": "slow 0.2"}
                    )
                    wait_s = seen.judge(path, answer)
                except (httpx.TransportError, ValueError, AssertionError) as e:
                    seen.unexpected.append(repr(e))
                    break
            seen.slowest_s = max(seen.slowest_s, time.monotonic() - began)


@contextmanager
def callers(url: str) -> Iterator[Seen]:
    seen, stop = Seen(), threading.Event()
    paths = itertools.islice(itertools.cycle(FIELDS), CALLERS)
    threads = [threading.Thread(target=call_until, args=(stop, url, path, seen)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def kill_ingress(service: Running) -> None:
    """And wait until another one has taken its place."""
    (victim,) = named(service, INGRESS)
    victim.send_signal(signal.SIGKILL)
    wait_until(lambda: [p.pid for p in named(service, INGRESS)] not in ([], [victim.pid]), 60)


def test_whoever_heeds_retry_after_loses_nothing(
    service: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    with callers(service.url) as seen:
        for _ in range(KILLS):
            answered = seen.statuses[200]
            wait_until(lambda more=answered + CALLERS: seen.statuses[200] >= more, 60)  # type: ignore[misc]
            kill_ingress(service)
        answered = seen.statuses[200]
        wait_until(lambda: seen.statuses[200] >= answered + CALLERS, 60)
    with capsys.disabled():
        print(f"\n{KILLS} kills: {dict(seen.statuses)}, slowest {seen.slowest_s:.1f} s")
    assert seen.unexpected == []
    assert seen.statuses.keys() == {200, 503}


def test_openai_s_client_notices_nothing(service: Running) -> None:
    with openai.OpenAI(api_key="-", base_url=f"{service.url}/v1", timeout=60) as client:
        killer = threading.Timer(1, kill_ingress, (service,))
        killer.start()
        answer = client.audio.transcriptions.create(
            model="whisper-1", file=("a.wav", wav(1.7)), prompt="slow 2"
        )
        killer.join()
    assert answer.text.startswith("1.7 seconds at 0.0")
