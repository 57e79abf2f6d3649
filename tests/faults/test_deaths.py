"""Killing processes of the service under load: every accepted request gets the right answer."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import wav
from tests.support.service import FAKE, ROOT, Running, started, wait_until

MODEL, INGRESS = "ray::ServeReplica:default:Model", "ray::ServeReplica:default:Ingress"
PROXY, CONTROLLER = "ray::ProxyActor", "ray::ServeController"
CALLERS = 12


class Load:
    """Callers that send requests from a process of their own."""

    def __init__(self, url: str, callers: int, patience_s: float) -> None:
        command = [sys.executable, "-m", "tests.faults.callers", url, str(callers), str(patience_s)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answered = 0
        self.last = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.last = line
                self.answered += 1

    def wait_for_more(self, answers: int) -> None:
        enough = self.answered + answers
        wait_until(lambda: self.answered >= enough, 120)

    def counts(self) -> dict[str, Any]:
        """Wait for the last answers; what the callers counted."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(120)
        self.reader.join()
        counted: dict[str, Any] = json.loads(self.last)
        return counted


def summary(counts: dict[str, Any]) -> str:
    """One line, with the number of lost requests."""
    shown = {name: value for name, value in counts.items() if name != "lost"}
    return f"{shown}, lost {len(counts['lost'])}"


@contextmanager
def load(service: Running, patience_s: float) -> Iterator[Load]:
    running = Load(service.url, CALLERS, patience_s)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("faults")
    settings = FAKE | {
        "LOGGING__FILE": str(folder / "service.log"),
        "SERVER__DEAD_LETTER_DIR": str(folder / "letters"),
        "SERVER__NUM_INGRESS": "2",
        "SERVER__DEDICATED_CPU": "false",
    }
    with started(settings) as running:
        yield running.wait_until_ready()


def named(service: Running, name: str) -> list[psutil.Process]:
    return [p for p in service.processes() if title_of(p).startswith(name)]


def title_of(process: psutil.Process) -> str:
    """What it calls itself; empty where it has just ended."""
    try:
        return str((process.cmdline() or [""])[0])
    except psutil.Error:
        return ""


@pytest.mark.parametrize(
    ("victim", "kills", "patience_s"),
    [(MODEL, 3, 0), (CONTROLLER, 1, 0), (INGRESS, 2, 30), (PROXY, 1, 30)],
    ids=["model", "controller", "ingress", "proxy"],
)
def test_no_request_is_lost_whichever_process_dies(
    service: Running, victim: str, kills: int, patience_s: float, capsys: pytest.CaptureFixture[str]
) -> None:
    number = len(named(service, victim))
    assert number
    with load(service, patience_s) as running:
        back = []
        for _ in range(kills):
            running.wait_for_more(30)
            named(service, victim)[0].send_signal(signal.SIGKILL)
            began = time.monotonic()
            wait_until(lambda: len(named(service, victim)) < number)
            wait_until(lambda: len(named(service, victim)) == number, 60)
            back.append(round(time.monotonic() - began, 1))
        running.wait_for_more(30)
        counts = running.counts()
    with capsys.disabled():
        print(f"\n{victim}: kills {kills}, back after {back} s, {summary(counts)}")
    assert counts["lost"] == []
    assert patience_s or not counts["tried_again"]


def test_a_model_replica_out_of_memory_loses_no_request(
    service: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = named(service, MODEL)[0]
    with load(service, 0) as running, memory_limit(victim, extra_mb=100):
        running.wait_for_more(20)
        with service.client() as client:
            for _ in range(30):
                files = {"audio_file": ("a.wav", wav(8.8, level=random.uniform(0.1, 0.9)))}
                answer = client.post("/transcribe", files=files, data={"prompt": "eat 300"})
                assert answer.status_code == 200, answer.text
                if not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE:
                    break
            else:
                pytest.fail("the replica never ran out of memory")
        running.wait_for_more(30)
        counts = running.counts()
    with capsys.disabled():
        print(f"\nout of memory: {counts['answered']} answered, lost {len(counts['lost'])}")
    assert counts["lost"] == []


@contextmanager
def memory_limit(process: psutil.Process, extra_mb: int) -> Iterator[None]:
    """Let the kernel kill it once it takes `extra_mb` more than now."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    group = Path("/sys/fs/cgroup", "" if unified else "memory", f"whisper_serve_{process.pid}")
    try:
        group.mkdir()
    except OSError as e:
        pytest.skip(f"needs control groups: {e}")
    most = process.memory_info().rss + extra_mb * 2**20
    try:
        (group / "cgroup.procs").write_text(str(process.pid))
        (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(most))
        yield
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text().strip())
        group.rmdir()


@pytest.mark.parametrize("victim", ["haproxy", "ray::HAProxyManager"])
def test_with_haproxy_in_front_no_request_is_lost_either(
    victim: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = FAKE | {"SERVER__PROXY": "haproxy", "SERVER__DEDICATED_CPU": "false"}
    with started(settings) as service:
        service.wait_until_ready()
        with load(service, 60) as running:
            running.wait_for_more(30)
            haproxy = [p for p in service.processes() if p.name() == victim]
            (haproxy or named(service, victim))[0].send_signal(signal.SIGKILL)
            began = time.monotonic()
            running.wait_for_more(30)
            back = time.monotonic() - began
            counts = running.counts()
        with capsys.disabled():
            print(f"\n{victim}: 30 answers after {back:.1f} s, {summary(counts)}")
        assert counts["lost"] == []


def test_a_window_that_kills_two_replicas_is_quarantined_and_others_are_transcribed(service: Running) -> None:
    with load(service, 0) as running:
        running.wait_for_more(20)
        before = [p.pid for p in named(service, MODEL)]
        with service.client() as client:
            files = {"audio_file": ("a.wav", wav(7.7, level=random.uniform(0.1, 0.9)))}  # unknown to any run
            headers = {"x-request-id": "poison-1"}
            first = client.post("/transcribe", files=files, data={"prompt": "die"}, headers=headers)
            wait_until(lambda: len(named(service, MODEL)) == len(before), 60)
            after = [p.pid for p in named(service, MODEL)]
            second = client.post("/transcribe", files=files, data={"prompt": "die"}, headers=headers)
        counts = running.counts()
    assert counts["lost"] == []
    for answer in (first, second):
        assert answer.status_code == 500
        assert "2 model replicas died while transcribing it" in answer.json()["error"]
        assert answer.headers["x-should-retry"] == "false"
    assert len({*before} - {*after}) == 2
    assert {p.pid for p in named(service, MODEL)} == {*after}  # sent again, it kills no replica
    letters = Path(service.env["WHISPER_SERVE__SERVER__DEAD_LETTER_DIR"])
    (letter,) = letters.glob("*.json")
    about = json.loads(letter.read_text())
    assert (about["request_id"], about["seconds"]) == ("poison-1", 7.7)
    assert Path(about["path"]).stat().st_size == 44 + 2 * 123_200


def test_when_main_py_is_killed_no_process_stays_and_the_next_start_serves(tmp_path: Path) -> None:
    with started(FAKE) as running:
        running.wait_until_ready()
        began = time.monotonic()
        running.process.kill()
        wait_until(lambda: not running.processes(), 20)
        print(f"gone after {time.monotonic() - began:.1f} s")
    with started(FAKE) as again:
        again.wait_until_ready()
        assert "whose main.py was killed" not in again.output


def test_if_the_watchdog_is_killed_too_the_next_start_kills_the_rest_and_says_so() -> None:
    with started(FAKE) as running:
        running.wait_until_ready()
        (watchdog,) = [p for p in running.processes() if "whisper_serve.host.watchdog" in p.cmdline()]
        watchdog.kill()
        running.process.kill()
        with started(FAKE) as again:
            again.wait_until_ready()
            assert "a run whose main.py was killed left" in again.output
            assert running.processes() == []


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_when_ray_itself_dies_the_service_starts_again(name: str) -> None:
    with started(FAKE) as running:
        running.wait_until_ready()
        (victim,) = [p for p in running.processes() if p.name() == name]
        victim.kill()
        began = time.monotonic()
        wait_until(lambda: answers(running) != 200)
        wait_until(lambda: answers(running) == 200, 60)
        print(f"{name}: back after {time.monotonic() - began:.1f} s")
        assert "Ray died" in running.output
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert running.processes() == []


def answers(service: Running) -> int | None:
    try:
        return httpx.get(f"{service.url}/health", timeout=2).status_code
    except httpx.TransportError:
        return None
