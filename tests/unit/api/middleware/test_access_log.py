"""Under which name, id and status a request is logged and counted."""

import asyncio
import logging
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from whisper_serve.api.middleware.access_log import AccessLog
from whisper_serve.telemetry.logs import ACCESS
from whisper_serve.telemetry.metrics import REFUSED, REQUESTS, Record, Series, record_with

app = FastAPI()


@app.get("/recordings/{name}")
async def recording(name: str) -> str:
    return name


@app.get("/broken")
async def broken() -> PlainTextResponse:
    return PlainTextResponse("", 500)


class Lines(logging.Handler):
    """Keeps messages, also where the logger does not pass them on."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[list[str]]:
    log, lines = logging.getLogger(ACCESS), Lines()
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    yield lines.messages
    log.removeHandler(lines)
    log.setLevel(logging.NOTSET)


@pytest.fixture
def counted() -> Iterator[list[tuple[Series, dict[str, str]]]]:
    """Series and labels of what is counted."""
    values: list[tuple[Series, dict[str, str]]] = []

    def into(series: Series) -> Record:
        return lambda _, labels: values.append((series, labels))

    record_with({series.name: into(series) for series in (REQUESTS, REFUSED)})
    yield values
    record_with({series.name: lambda value, labels: None for series in (REQUESTS, REFUSED)})


def get(path: str, behind: ASGIApp = app, answers_id: bool = True, id: str = "") -> httpx.Response:
    async def asked() -> httpx.Response:
        logged = AccessLog(behind, frozenset({"/transcribe"}), answers_id)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(logged), base_url="http://test") as client:
            return await client.get(path, headers={"x-request-id": id})

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("path", "endpoint", "status"),
    [
        ("/recordings/7", "/recordings/{name}", "200"),
        ("/broken", "/broken", "500"),
        ("/no/such/page", "other", "404"),
    ],
)
def test_a_request_is_counted_under_its_route_and_the_log_has_its_path(
    counted: list[tuple[Series, dict[str, str]]],
    logged: list[str],
    path: str,
    endpoint: str,
    status: str,
) -> None:
    get(path)
    assert counted == [(REQUESTS, {"endpoint": endpoint, "status": status})]
    assert logged == [f"GET {path} {status}"]


@pytest.mark.parametrize(("path", "endpoint"), [("/transcribe", "/transcribe"), ("/transcribe/x", "other")])
@pytest.mark.parametrize("status", [401, 413, 429])
def test_what_is_refused_before_it_is_routed_is_counted_under_its_path_where_that_is_an_endpoint(
    counted: list[tuple[Series, dict[str, str]]], path: str, endpoint: str, status: int
) -> None:
    get(path, PlainTextResponse("", status))
    labels = {"endpoint": endpoint, "status": str(status)}
    assert counted == [(REQUESTS, labels), (REFUSED, labels)]


def test_a_callers_id_is_kept_where_it_can_be_logged_as_it_is() -> None:
    assert get("/broken", id="a/b:1").headers["x-request-id"] == "a/b:1"
    assert len(get("/broken", id="two words").headers["x-request-id"]) == 36
    assert "x-request-id" not in get("/broken", answers_id=False).headers
