"""The log: which lines go to which file, with which fields."""

import json
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from whisper_serve.telemetry.logs import ACCESS, AUDIT, NAME, audit, request, set_up_audit, set_up_logging
from whisper_serve.telemetry.settings import Logging


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    yield
    set_up_logging(Logging(file=None))
    logging.getLogger(NAME).propagate = True  # for tests that read the log


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


@pytest.mark.parametrize("rotate", ["size", "daily"])
def test_a_log_file_is_readable_to_its_owner_only_though_it_was_open_to_all(
    tmp_path: Path, rotate: str
) -> None:
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    old.touch(0o644)
    set_up_logging(Logging(file=str(old), error_file=str(new), rotate=rotate))
    logging.getLogger(NAME).error("broken")
    assert [oct(path.stat().st_mode & 0o777) for path in (old, new)] == ["0o600", "0o600"]


def test_a_daily_file_begins_anew_after_midnight(tmp_path: Path) -> None:
    path = tmp_path / "all.log"
    handler = set_up_logging(Logging(file=str(path), rotate="daily")).handlers[1]
    logging.getLogger(NAME).info("yesterday")
    midnight = 1_000_000_000
    handler.rolloverAt = midnight  # type: ignore[attr-defined]
    (tmp_path / ".__all.lock").write_text(str(midnight))  # what the processes agreed on
    logging.getLogger(NAME).info("today")
    assert messages(path) == ["today"]
    (yesterday,) = tmp_path.glob("all.log.*")
    assert messages(yesterday) == ["yesterday"]


def test_audit_lines_have_a_file_of_their_own_whatever_the_level(tmp_path: Path) -> None:
    set_up_logging(
        Logging(file=str(tmp_path / "all.log"), audit_file=str(tmp_path / "audit.log"), level="ERROR")
    )
    audit("key refused", address="10.0.0.9")
    logging.getLogger(NAME).error("broken")
    assert messages(tmp_path / "all.log") == ["broken"]
    (line,) = lines(tmp_path / "audit.log")
    assert (line["name"], line["message"], line["address"]) == (AUDIT, "key refused", "10.0.0.9")


def test_without_an_audit_file_audit_lines_are_among_the_others(tmp_path: Path) -> None:
    settings = Logging(file=str(tmp_path / "all.log"))
    set_up_logging(settings)
    audit("key refused")
    set_up_audit(settings)
    audit("configuration changed", settings=["model.size"])
    assert messages(tmp_path / "all.log") == ["key refused", "configuration changed"]


@contextmanager
def full_disk() -> Iterator[None]:
    """Files of this process cannot grow meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("rotate", ["size", "daily"])
def test_lines_that_find_no_room_are_one_sentence_a_minute_with_their_number(
    tmp_path: Path, rotate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = set_up_logging(Logging(file=str(tmp_path / "all.log"), rotate=rotate))
    with full_disk():
        for _ in range(5):
            logger.info("no room")
    logger.handlers[1].told = float("-inf")  # type: ignore[attr-defined]  # a minute later
    with full_disk():
        logger.info("no room")
    logger.info("room")
    told = [line for line in capsys.readouterr().err.splitlines() if "cannot be written" in line]
    assert [line.partition("all.log: ")[2].split(" ")[0] for line in told] == ["1", "5"]
    assert "File too large" in told[0]
    assert messages(tmp_path / "all.log")[-1] == "room"
