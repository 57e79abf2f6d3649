"""Uploads that cannot be stored, over ASGI: the limit on a process's files stands for a full disk."""

import logging
import resource
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import wav
from tests.support.openai_schema import check
from whisper_serve.telemetry.logs import NAME

pytestmark = pytest.mark.anyio
FIELD = {"/v1/audio/transcriptions": "file", "/transcribe": "audio_file", "/asr": "audio_file"}


@pytest.fixture
def full_disk() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("path", FIELD)
async def test_an_upload_that_cannot_be_stored_is_503_and_an_error_in_the_log(
    client: httpx.AsyncClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, NAME):
        answer = await client.post(path, files={FIELD[path]: ("a.wav", wav(100))})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10"), answer.text
    assert "the service has no room for this upload; try again later" in answer.text
    if path.startswith("/v1/"):
        check("error", answer.json())
    (line,) = [record for record in caplog.records if record.name == NAME]
    assert (line.message, vars(line)["reason"]) == ("no room for uploads", "File too large")


@pytest.mark.usefixtures("full_disk")
async def test_an_upload_that_needs_no_file_is_answered_all_the_same(client: httpx.AsyncClient) -> None:
    answer = await client.post("/transcribe", files={"audio_file": ("a.wav", wav(10))})
    assert answer.status_code == 200, answer.text
