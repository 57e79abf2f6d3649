"""Damaged recordings through the decoder and through HTTP: no crash, no hang, no 5xx, no growth.

FUZZ=1000 tries fewer; what a seed finds, that seed finds again: python -m tests.faults.mutants FOLDER SEED SEED+1
"""

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import httpx
import pytest

from loadtest.common import speech
from tests.faults.mutants import LONGEST_S, mutant
from tests.support import hostile_audio
from tests.support.service import FAKE, ROOT, memory_mb, started

FILES = int(os.environ.get("FUZZ", "20000"))
REQUESTS = FILES // 10
PROCESSES = 2
GROWTH_MB = 100
FOLDER = speech.SHARED

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no recordings to damage here")


def decoded(span: tuple[int, int]) -> tuple[list[str], float]:
    """Decode the mutants of seeds in [first, last): what was found, and the megabytes the process grew by."""
    found: list[str] = []
    grown, (first, last) = 0.0, span
    while first < last:
        command = [sys.executable, "-m", "tests.faults.mutants", str(FOLDER), str(first), str(last)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = ended.stdout.split()
        if ended.returncode == 0:
            return found, max(grown, float(lines[-1]))
        seed = int(lines[-1])
        found.append(f"seed {seed}: exit code {ended.returncode} {ended.stderr.strip().splitlines()[-1:]}")
        first = seed + 1
    return found, grown


def post(client: httpx.Client, data: bytes, id: str) -> int:
    return client.post(
        "/transcribe", files={"audio_file": ("a", data)}, headers={"x-request-id": id}
    ).status_code


def test_no_damaged_file_breaks_the_decoder(capsys: pytest.CaptureFixture[str]) -> None:
    cuts = [FILES * part // (PROCESSES * 4) for part in range(PROCESSES * 4 + 1)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        results = list(pool.map(decoded, pairwise(cuts)))
    found = [line for lines, _ in results for line in lines]
    grown = max(mb for _, mb in results)
    with capsys.disabled():
        print(f"\n{FILES} damaged files decoded, {len(found)} findings, largest growth {grown:.0f} MB")
    assert found == []
    assert grown < GROWTH_MB


def test_no_damaged_file_breaks_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    with started(FAKE | {"LOGGING__LEVEL": "ERROR", "SERVER__MAX_AUDIO_S": "600"}) as service:
        service.wait_until_ready()
        memory: list[float] = []
        with ThreadPoolExecutor(4) as pool, service.client(LONGEST_S) as client:

            def status(seed: int) -> int:
                if seed % (REQUESTS // 4) == 0:
                    memory.append(memory_mb(service))
                return post(client, mutant(FOLDER, seed), f"seed-{seed}")

            statuses = Counter(pool.map(status, range(REQUESTS)))
            memory.append(memory_mb(service))  # before files as large as 200 MB pass through the proxy
            costly = {name: post(client, made(), name) for name, made in hostile_audio.FILES.items()}
    with capsys.disabled():
        print(f"\n{REQUESTS} damaged files sent: {dict(statuses)}; memory {[round(mb) for mb in memory]} MB")
    assert set(statuses) <= {200, 400, 413}
    assert set(costly.values()) == {400}, costly
    assert memory[-1] - memory[1] < GROWTH_MB
    assert "unforeseen" not in service.output
