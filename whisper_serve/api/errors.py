"""Errors to HTTP: one table from kind to status, and one body for each dialect."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from logging import getLogger
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from whisper_serve.errors import Overloaded, TranscriptionError
from whisper_serve.telemetry.logs import NAME

STATUS = {
    "invalid": 400,
    "unauthorized": 401,
    "not_found": 404,
    "too_large": 413,
    "overloaded": 429,
    "internal": 500,
    "unavailable": 503,
    "timeout": 504,
}

# What /openapi.json says of each refusal that transcriptions may meet.
MEANING = {
    400: "not a recording that can be read, or a field that makes no sense",
    404: "the model is not one that is served",
    413: "more bytes or seconds than the service takes",
    429: "no room in the queue; see Retry-After",
    500: "the model failed",
    503: "no model replica is ready",
    504: "it took longer than a request may",
}

# Clients try again on 5xx by themselves: tell them where it cannot help.
NO_RETRY = {"x-should-retry": "false"}


def refusals(body: type[BaseModel], without: tuple[int, ...] = ()) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses`: every refusal in a dialect's `body`, but for those `without`."""
    return {
        status: {"model": body, "description": said}
        for status, said in MEANING.items()
        if status not in without
    }


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as HTTP knows it."""

    status: int
    message: str
    param: str | None = None  # the field at fault
    code: str | None = None  # for programs, in OpenAI's words
    headers: Mapping[str, str] = field(default_factory=dict)


# What OpenAI's clients look for beside the status. All that can be looked up, and not found, is a model.
CODES = {
    "unauthorized": (None, "invalid_api_key"),
    "not_found": ("model", "model_not_found"),
    "overloaded": (None, "rate_limit_exceeded"),
}


async def failed(request: Request, error: Exception) -> JSONResponse:
    return answer(request, as_problem(error))


async def malformed(request: Request, error: Exception) -> JSONResponse:
    """A field that is missing, or of the wrong kind."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = str([*first["loc"], "body"][1])  # after "body" or "query"; before the index in a list
    said = first["msg"].removeprefix("Value error, ")
    if said.startswith("Expected UploadFile"):
        said = "must be a file, sent as a form part with a filename"
    return answer(request, Problem(400, f"{param}: {said[0].lower()}{said[1:]}", param))


async def refused(request: Request, error: Exception) -> JSONResponse:
    """Starlette's and FastAPI's own refusals: no such path, wrong method, unreadable form."""
    assert isinstance(error, HTTPException)
    said = f"{request.method} {request.url.path}: {error.detail}"
    own_words = error.detail and error.detail != HTTPStatus(error.status_code).phrase
    code = "unknown_url" if error.status_code == 404 else None
    message = error.detail if own_words else said
    return answer(request, Problem(error.status_code, message, None, code, error.headers or {}))


async def broken(request: Request, error: Exception) -> JSONResponse:
    return answer(request, as_problem(error))


def as_problem(error: Exception) -> Problem:
    """Of our own errors; any other is told to the log, and the caller where to look."""
    if not isinstance(error, TranscriptionError):
        getLogger(NAME).error("unforeseen", exc_info=error)
        return Problem(500, "the service failed; its log has the request id", headers=NO_RETRY)
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Overloaded) else {}
    if error.kind == "unauthorized":
        headers |= {"www-authenticate": "Bearer"}
    if error.kind in ("internal", "timeout"):
        headers |= NO_RETRY
    param, code = CODES.get(error.kind, (None, None))
    return Problem(STATUS[error.kind], str(error), param, code, headers)


def answer(request: Request, problem: Problem) -> JSONResponse:
    return JSONResponse(as_body(request, problem), problem.status, dict(problem.headers))


def as_body(request: Request, problem: Problem) -> dict[str, Any]:
    """In the dialect of the path that was asked."""
    render = next(render for prefix, render in BODIES if request.url.path.startswith(prefix))
    return render(request, problem)


def openai_body(request: Request, problem: Problem) -> dict[str, Any]:
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": problem.message,
            "type": "rate_limit_error" if problem.status == 429 else kind,
            "param": problem.param,
            "code": problem.code,
        }
    }


def seed_body(request: Request, problem: Problem) -> dict[str, Any]:
    latency = time.perf_counter() - request.state.began
    return {
        "success": False,
        "text": "",
        "latency": round(latency, 4),
        "word_count": 0,
        "gpu_memory": 0.0,
        "error": problem.message,
    }


# The first prefix that fits decides, so the last fits all.
BODIES: list[tuple[str, Callable[[Request, Problem], dict[str, Any]]]] = [
    ("/v1/", openai_body),
    ("", seed_body),
]
