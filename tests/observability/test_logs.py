"""The log files of a running service: ingress and replicas write the same files, and no transcripts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import wav
from tests.support.service import FAKE, Running, started, wait_until

FILES = ("file", "access_file", "error_file")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Running]:
    files = {f"LOGGING__{name.upper()}": str(folder / name) for name in FILES}
    with started(FAKE | files | {"LOGGING__LEVEL": "DEBUG"}) as running:
        yield running.wait_until_ready()


def post(service: Running, **fields: str) -> httpx.Response:
    with service.client() as client:
        return client.post("/transcribe", files={"audio_file": ("a.wav", wav(2))}, data=fields)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_request_is_followed_from_the_ingress_into_the_replica(service: Running, folder: Path) -> None:
    id = post(service, prompt="crash").headers["x-request-id"]
    access_file = folder / "access_file"  # made with its first line, which follows the answer
    wait_until(lambda: access_file.exists() and any(line["request_id"] == id for line in lines(access_file)))
    (access,) = [line for line in lines(access_file) if line["request_id"] == id]
    assert access["message"] == "POST /transcribe 500"
    in_replica = [line for line in lines(folder / "error_file") if line["request_id"] == id]
    assert {line["message"] for line in in_replica} == {"the engine failed on 1 windows"}
    assert lines(folder / "error_file") == [x for x in lines(folder / "file") if x["level"] == "ERROR"]


def test_request_lines_are_only_in_their_own_file(service: Running, folder: Path) -> None:
    post(service)
    names = {name: {line["name"] for line in lines(folder / name)} for name in ("file", "access_file")}
    assert names["access_file"] == {"whisper_serve.access"}
    assert "whisper_serve.access" not in names["file"]
    assert "model loaded" in {line["message"] for line in lines(folder / "file")}


def test_at_debug_level_the_speech_found_and_the_batches_chosen_are_told(
    service: Running, folder: Path
) -> None:
    id = post(service).headers["x-request-id"]
    wait_until(lambda: any(line["message"] == "batch chosen" for line in lines(folder / "file")))
    (found,) = [x for x in lines(folder / "file") if x["message"] == "speech found" and x["request_id"] == id]
    assert (found["audio_seconds"], found["windows"]) == (2.0, [[0.0, 2.0]])
    batches = [line for line in lines(folder / "file") if line["message"] == "batch chosen"]
    assert batches[-1]["seconds"] == [2.0]


def test_no_transcript_or_prompt_is_in_any_log(service: Running, folder: Path) -> None:
    post(service, prompt="say Zanzibar", hotwords="Timbuktu")
    for text in [*((folder / name).read_text() for name in FILES), service.output]:
        assert "Zanzibar" not in text
        assert "Timbuktu" not in text
