"""Which dialect a path belongs to, and with it the body of an error."""

from collections import Counter

import pytest
from fastapi import APIRouter, FastAPI, Request

from whisper_serve.api import DIALECTS, KEYLESS, asr_webservice, docs, native, operations
from whisper_serve.api.dialect import Dialect, Problem, dialect_of
from whisper_serve.api.openai import routes as openai


def request(path: str, *dialects: Dialect) -> Request:
    app = FastAPI()
    app.state.dialects = dialects
    return Request({"type": "http", "method": "GET", "path": path, "headers": [], "app": app})


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/transcribe", native.DIALECT),
        ("/transcribe/stream", native.DIALECT),
        ("/v1/audio/transcriptions", openai.DIALECT),
        ("/v1/models/Systran/faster-whisper-base", openai.DIALECT),
        ("/v1/nowhere", openai.DIALECT),
        ("/asr", asr_webservice.DIALECT),
        ("/metrics", operations.DIALECT),
        ("/v1", openai.DIALECT),
        ("/v1x", native.DIALECT),
        ("/nowhere", native.DIALECT),
    ],
)
def test_a_path_belongs_to_the_dialect_of_its_endpoint_or_prefix(path: str, dialect: Dialect) -> None:
    assert dialect_of(request(path, *DIALECTS)) is dialect


def test_a_dialect_is_one_row_with_a_body_of_its_own() -> None:
    router = APIRouter()

    @router.post("/inference")
    async def inference() -> None: ...

    row = Dialect(router, lambda request, problem: {"error": problem.message})
    inference_request = request("/inference", *DIALECTS, row)
    assert dialect_of(inference_request).error_body(inference_request, Problem(400, "no")) == {"error": "no"}


def test_no_path_belongs_to_two_dialects() -> None:
    owners = Counter(path for dialect in DIALECTS for path in {route.path for route in dialect.routes})
    assert set(owners.values()) == {1}


def test_below_a_prefix_a_path_belongs_to_the_same_dialect() -> None:
    below = request("/speech/v1/nowhere", *DIALECTS)
    below.scope["root_path"] = "/speech"
    assert dialect_of(below) is openai.DIALECT


def test_no_path_but_the_root_health_checks_and_documentation_is_answered_without_a_key() -> None:
    pages = {"/docs", "/redoc", "/openapi.json", *docs.ASSETS}
    assert {"/", "/health", "/healthz", "/readyz"} | pages == KEYLESS
