"""The load test itself, as a process, against a service whose latency is known."""

from pathlib import Path

import httpx
import pytest

from loadtest.common.command import exit_code
from loadtest.common.errors import CannotRun
from loadtest.common.service import own_service
from loadtest.load.report import Report, load
from loadtest.load.run import main
from tests.support.fake_service import Fake, serving, write_clips


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    write_clips(tmp_path)
    return tmp_path


def run(fake: Fake, clips: Path, *options: str, ends: int = 0) -> Report:
    out = clips / "results"
    with serving(fake) as url:
        options = ("--url", url, "--clips", str(clips), "--out", str(out), "--warmup", "0.3", *options)
        assert exit_code(main, options) == ends
    (written,) = out.glob("*.json")
    for ending in (".md", ".html"):
        assert written.with_suffix(ending).is_file()
    return load(written)


def test_a_ladder_measures_the_latency_that_queueing_arithmetic_predicts(clips: Path) -> None:
    report = run(Fake(workers=2, latency_s=0.1), clips, "--ladder", "2,8", "--seconds", "1")
    few, many = report.lines
    assert [line.label for line in report.lines] == ["2", "8"]
    assert few.avg_s is not None
    assert many.avg_s is not None
    assert many.queue_s is not None
    assert report.rest_s > 0.1
    assert 0.1 < few.avg_s < many.avg_s / 2
    assert 10 < few.answers_per_s <= 2 / 0.1 + 2
    assert many.avg_s == pytest.approx(8 / many.answers_per_s, rel=0.25)  # Little's law
    assert many.queue_s == pytest.approx(many.avg_s - 0.1, rel=0.25)
    assert many.inference_s == 0.1
    assert many.audio_per_s == pytest.approx(2 * many.answers_per_s)
    assert (few.errors, few.wrong, few.refused) == (0, 0, 0)
    assert (few.batch_windows, few.batch_s) == pytest.approx((2, 4))
    assert report.model == "fake-base"  # as it says itself


def test_refusals_wrong_words_and_errors_are_counted_apart(clips: Path) -> None:
    def fault(number: int) -> str:
        return {0: "wrong", 1: "error", 2: "refused"}.get(number % 10, "") if number > 4 else ""

    fake = Fake(workers=2, latency_s=0.02, fault=fault)
    (line,) = run(fake, clips, "--ladder", "6", "--seconds", "1.5", ends=1).lines
    for tenth in (line.wrong, line.errors, line.refused):
        assert abs(tenth - line.requests / 10) <= 2
    assert line.retry_after_s == 1.0
    assert line.ok + line.wrong + line.errors + line.refused == line.requests


def test_an_open_loop_keeps_its_rate_though_the_service_is_slower(clips: Path) -> None:
    fake = Fake(workers=1, latency_s=0.1)
    (line,) = run(fake, clips, "--shape", "open", "--ladder", "30", "--seconds", "1").lines
    assert line.requests == pytest.approx(30, rel=0.4)
    assert line.answers_per_s < 11
    assert line.max_s is not None
    assert line.max_s > 1.0


@pytest.mark.parametrize("protocol", ["openai", "sse", "asr"])
def test_every_dialect_is_spoken(protocol: str, clips: Path) -> None:
    report = run(Fake(latency_s=0.02), clips, "--protocol", protocol, "--ladder", "2", "--seconds", "0.4")
    (line,) = report.lines
    assert line.ok == line.requests > 5
    assert (line.first_p50_s is not None) == (protocol == "sse")


def test_a_spike_leaves_every_stage_with_its_own_numbers(clips: Path) -> None:
    lines = run(Fake(), clips, "--shape", "spike", "--ladder", "2,10,2", "--seconds", "0.6").lines
    assert [line.label for line in lines] == ["2", "10", "2 #2"]
    assert lines[1].avg_s is not None
    assert lines[0].avg_s is not None
    assert lines[1].avg_s > 3 * lines[0].avg_s


def test_a_service_that_answers_wrong_words_at_rest_is_not_measured(
    clips: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(Fake(latency_s=0.0, fault=lambda _number: "wrong")) as url:
        assert exit_code(main, ["--url", url, "--clips", str(clips), "--out", str(clips / "results")]) == 2
    assert "thanks for watching" in capfd.readouterr().err
    assert not list((clips / "results").glob("*.json"))


def test_another_machine_is_refused_before_anything_is_sent(
    clips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALLOW_REMOTE", raising=False)
    options = ["--clips", str(clips), "--out", str(clips / "results")]
    assert exit_code(main, ["--url", "http://192.0.2.1:8000", *options]) == 2
    assert "ALLOW_REMOTE=1" in capsys.readouterr().err


STUB = """
import os, pathlib, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

def leave(number, frame):
    pathlib.Path("drained").touch()
    sys.exit(0)

signal.signal(signal.SIGTERM, leave)
HTTPServer(("127.0.0.1", int(os.environ["WHISPER_SERVE__SERVER__PORT"])), Ready).serve_forever()
"""


def test_a_service_of_our_own_is_ready_inside_and_drained_after(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(STUB)
    with own_service(tmp_path / "config.json", tmp_path / "service.log", root=tmp_path) as service:
        assert httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 200
        assert not (tmp_path / "drained").exists()
    assert (tmp_path / "drained").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(service.url, trust_env=False)


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("raise SystemExit('no such model: tiniest')")
    service = own_service(tmp_path / "config.json", tmp_path / "service.log", root=tmp_path)
    with pytest.raises(CannotRun, match="no such model: tiniest"), service:
        pass


def test_at_512_callers_the_latency_is_the_service_s_and_not_the_client_s(clips: Path) -> None:
    fake = Fake(workers=512, latency_s=1.0)
    report = run(fake, clips, "--ladder", "512", "--seconds", "2")
    (line,) = report.lines
    assert (line.errors, line.wrong, line.refused) == (0, 0, 0)
    assert line.p50_s == pytest.approx(1.0, rel=0.1)
    assert line.p95_s == pytest.approx(1.0, rel=0.25)
    assert line.answers_per_s == pytest.approx(512, rel=0.25)
    assert line.client_cpu < 0.8
