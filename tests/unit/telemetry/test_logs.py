"""The log: which lines go to which file, with which fields."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from whisper_serve.telemetry.logs import ACCESS, NAME, request, set_up_logging
from whisper_serve.telemetry.settings import Logging


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    yield
    set_up_logging(Logging(file=None))


def write(settings: Logging) -> None:
    set_up_logging(settings)
    with request("abc"):
        logging.getLogger(ACCESS).info("GET / 200", extra={"seconds": 0.1})
        logging.getLogger(NAME).info("model loaded")
        logging.getLogger(f"{NAME}.engines.x").error("broken")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def messages(path: Path) -> list[str]:
    return [line["message"] for line in lines(path)]


def test_by_default_one_file_holds_all_lines(tmp_path: Path) -> None:
    write(Logging(file=str(tmp_path / "all.log")))
    assert messages(tmp_path / "all.log") == ["GET / 200", "model loaded", "broken"]


def test_requests_and_errors_can_have_their_own_files(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("file", "access_file", "error_file")}
    write(Logging(**paths))
    assert messages(tmp_path / "file") == ["model loaded", "broken"]
    assert messages(tmp_path / "access_file") == ["GET / 200"]
    assert messages(tmp_path / "error_file") == ["broken"]


def test_a_line_is_json_with_time_level_and_request_id(tmp_path: Path) -> None:
    write(Logging(file=str(tmp_path / "all.log")))
    line = lines(tmp_path / "all.log")[0]
    assert line.pop("time")
    assert line == {
        "name": ACCESS,
        "level": "INFO",
        "message": "GET / 200",
        "seconds": 0.1,
        "request_id": "abc",
    }


def test_a_file_is_rotated_and_the_oldest_are_deleted(tmp_path: Path) -> None:
    set_up_logging(Logging(file=str(tmp_path / "all.log"), max_mb=0.001, backups=2))
    for number in range(60):
        logging.getLogger(NAME).info("line %d", number)
    files = {path.name for path in tmp_path.iterdir() if path.name.startswith("all.log")}
    assert files == {"all.log", "all.log.1", "all.log.2"}
    assert all((tmp_path / name).stat().st_size < 1200 for name in files)
    assert messages(tmp_path / "all.log")[-1] == "line 59"
