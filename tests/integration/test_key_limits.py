"""Limits of keys where two ingress replicas share them, counted by an actor that may be slow, or die."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import httpx
import psutil
import pytest

from tests.conftest import wav
from tests.faults.test_deaths import named
from tests.support.service import FAKE, Running, started, wait_until

COUNTER = "ray::Usage"  # the process that counts
LIMITS: dict[str, dict[str, float]] = {
    "minute": {"requests_per_minute": 1},
    "posts": {"audio_s_per_day": 20},
    "whole": {"audio_s_per_day": 20},
    "paused": {"audio_s_per_day": 20},
    "killed": {"audio_s_per_day": 20},
}


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    keys = [
        {"name": name, "sha256": sha256(name.encode()).hexdigest()} | more for name, more in LIMITS.items()
    ]
    settings = {"SERVER__NUM_INGRESS": "2", "SERVER__DEDICATED_CPU": "false"}
    with started(FAKE | settings | {"SECURITY__KEYS": json.dumps(keys)}) as running:
        yield running.wait_until_ready()


def post(service: Running, key: str, seconds: float) -> httpx.Response:
    with service.client() as client:
        files = {"audio_file": ("a.wav", wav(seconds))}
        return client.post("/transcribe", files=files, headers={"x-api-key": key})


def statuses(service: Running, key: str, lengths: list[float]) -> Counter[int]:
    """Of recordings of these lengths, sent at once."""
    with ThreadPoolExecutor(len(lengths)) as callers:
        answers = callers.map(lambda seconds: post(service, key, seconds), lengths)
        return Counter(answer.status_code for answer in answers)


def test_one_request_a_minute_is_one_over_all_ingresses(service: Running) -> None:
    began = time.monotonic()
    granted = statuses(service, "minute", [1.0] * 12)
    assert granted == {200: 1, 429: 11}
    refused = post(service, "minute", 1)
    assert 60 - (time.monotonic() - began) <= int(refused.headers["retry-after"]) <= 60


def test_a_day_s_quota_is_granted_to_its_last_whole_recording(service: Running) -> None:
    assert statuses(service, "posts", [6.0] * 8) == {200: 3, 429: 5}
    assert post(service, "posts", 2).status_code == 200
    assert post(service, "posts", 0.1).status_code == 429


def test_a_recording_may_be_as_long_as_the_quota(service: Running) -> None:
    assert post(service, "whole", 20).status_code == 200
    assert post(service, "whole", 0.1).status_code == 429


@pytest.mark.parametrize("key", ["paused", "killed"])
def test_where_the_counter_does_not_answer_each_ingress_grants_its_part(service: Running, key: str) -> None:
    (process,) = named(service, COUNTER)
    process.send_signal(signal.SIGSTOP if key == "paused" else signal.SIGKILL)
    try:
        began = time.monotonic()
        granted = statuses(service, key, [6.0] * 8)
        took = time.monotonic() - began
    finally:
        if key == "paused":
            process.send_signal(signal.SIGCONT)
    assert granted[200] + granted[429] == 8
    assert granted[200] in (1, 2, 3)  # one of each ingress; all, where another one counts already
    assert took < 5
    wait_until(lambda: [p.status() != psutil.STATUS_ZOMBIE for p in named(service, COUNTER)] == [True], 60)
