"""Changing the configuration of a running service under load: every accepted request gets the right answer."""

import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_deaths import load, summary
from tests.support.service import Running, started, wait_until

FAKE: dict[str, dict[str, Any]] = {
    "model": {"engine": "fake"},
    "vad": {"method": "off"},
    "quality": {"filters": []},
    "server": {"dedicated_cpu": False, "num_ingress": 2, "max_upload_mb": 50},
    "deployment": {"num_replicas": 2},
}


def write(file: Path, **deployment: object) -> None:
    config = {**FAKE, "deployment": {**FAKE["deployment"], **deployment}}
    file.write_text(json.dumps(config), encoding="utf-8")


def printed(service: Running, words: str) -> int:
    return len(re.findall(words, service.output))


def change(service: Running) -> None:
    before = printed(service, "the configuration (is changed|stays)")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: printed(service, "the configuration (is changed|stays)") > before, 120)


@contextmanager
def configured(folder: Path) -> Iterator[tuple[Path, Running]]:
    """A config file, and a service that runs with it."""
    file = folder / "config.json"
    write(file)
    with started({}, sys.executable, "main.py", "--config", str(file)) as service:
        service.wait_until_ready()
        yield file, service


def test_a_config_whose_replicas_do_not_start_is_undone_and_no_request_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with configured(tmp_path) as (file, service):
        with load(service, 0) as running:
            running.wait_for_more(30)
            wrong = {"engine": "openai_whisper", "size": "tiny.en", "compute_type": "nonsense"}
            file.write_text(json.dumps({**FAKE, "model": wrong}), encoding="utf-8")
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "the configuration is as it was" in service.output, 240)
            running.wait_for_more(30)
            counts = running.counts()
        with capsys.disabled():
            print(f"\nconfig that cannot start: {summary(counts)}")
        assert counts["lost"] == []
        assert "the old configuration is put back" in service.output


def limits(service: Running) -> dict[str, float]:
    with service.client() as client:
        values: dict[str, float] = client.get("/capabilities").json()["limits"]
    return values


def test_a_config_changed_under_load_loses_no_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with configured(tmp_path) as (file, service):
        with load(service, 0) as running:
            for number in range(3):
                running.wait_for_more(30)
                write(
                    file,
                    num_replicas=2 + number % 2,
                    max_retries=3 + number,
                    batch_wait_timeout_s=0.01 * number,
                )
                change(service)
            running.wait_for_more(30)
            counts = running.counts()
        with capsys.disabled():
            print(f"\nconfig changed 3 times: {summary(counts)}")
        assert counts["lost"] == []
        assert printed(service, "is changed") == 3


def test_an_invalid_config_is_refused_in_one_sentence_and_the_service_goes_on(tmp_path: Path) -> None:
    with configured(tmp_path) as (file, service):
        file.write_text('{"deployment": {"num_replicas": -1}}', encoding="utf-8")
        change(service)
        assert "the configuration stays as it was: deployment.num_replicas" in service.output
        assert limits(service)["max_upload_mb"] == 50
