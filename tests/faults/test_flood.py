"""500 callers at once on a bound of 300 seconds of audio."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.test_service import post
from tests.support.service import FAKE, ROOT, Running, memory_mb, started

CALLERS, CLIP_S, BOUND_S = 500, 10, 300
INFERENCE_S = 0.2  # of the fake engine, for each clip
RATE = 2 * CLIP_S / INFERENCE_S  # audio seconds a second, of two replicas
UPLOADING_S = 20  # for 40 MB through a proxy in Python, on a busy machine of two cores


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with started(FAKE | {"SERVER__MAX_QUEUED_AUDIO_S": str(BOUND_S), "LOGGING__LEVEL": "WARNING"}) as running:
        yield running.wait_until_ready()


def flood(service: Running) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.faults.flood", service.url, str(CALLERS), str(CLIP_S)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    answers: list[dict[str, Any]] = json.loads(ran.stdout)
    return answers


def test_500_callers_are_answered_or_refused_and_the_service_recovers(
    service: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    flood(service)  # Python's allocator keeps memory of the first flood, once
    before = memory_mb(service)
    answers = flood(service)
    after = memory_mb(service)
    statuses = Counter(answer["status"] for answer in answers)
    took = sorted(answer["took_s"] for answer in answers if answer["status"] == 200)
    p99 = took[int(0.99 * len(took))]
    with capsys.disabled():
        print(f"\n{dict(statuses)}, p99 of answered {p99:.1f} s, memory {before:.0f} to {after:.0f} MB")
    assert set(statuses) == {200, 429}
    assert all(answer["right"] for answer in answers)
    assert all(1 <= int(answer["retry_after"]) <= 120 for answer in answers if answer["status"] == 429)
    assert p99 < BOUND_S / RATE + UPLOADING_S
    assert post(service).status_code == 200
    assert after - before < 100
