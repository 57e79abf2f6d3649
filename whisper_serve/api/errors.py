"""Errors to HTTP: one table from kind to status. The body is that of the dialect whose path was requested."""

import errno
import time
from http import HTTPStatus
from logging import getLogger
from tempfile import gettempdir
from typing import Any, Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from whisper_serve.api.dialect import Problem, dialect_of
from whisper_serve.errors import RetryLater, TranscriptionError, Unavailable
from whisper_serve.telemetry.logs import NAME

STATUS = {
    "invalid": 400,
    "unauthorized": 401,
    "not_found": 404,
    "too_large": 413,
    "overloaded": 429,
    "quota": 429,
    "internal": 500,
    "unavailable": 503,
    "timeout": 504,
}

# What /openapi.json says of each refusal that transcriptions may meet.
MEANING = {
    400: "The file is not a recording that can be read, or a field has a value that is not allowed.",
    404: "The requested model is not served.",
    413: "The upload has more bytes, or the recording more seconds, than the service accepts.",
    429: "The queue is full, or the caller's limit or quota is reached; Retry-After says when to try again.",
    500: "The model failed.",
    503: "No model replica is ready, there is no room for the upload, or the service is stopping; Retry-After says when to "
    "try again.",
    504: "The request took longer than it may.",
}

NO_ROOM = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
)  # disk full, or this user's share of it, or a file's limit
NO_ROOM_RETRY_S = 10

# Clients try again on 5xx by themselves: tell them where it cannot help.
NO_RETRY = {"x-should-retry": "false"}

# What OpenAI's clients look for beside the status. All that can be looked up, and not found, is a model.
CODES = {
    "unauthorized": (None, "invalid_api_key"),
    "not_found": ("model", "model_not_found"),
    "overloaded": (None, "rate_limit_exceeded"),
    "quota": (None, "insufficient_quota"),
}


class Failure(BaseModel):
    """The service's own error body, with the fields of its answer to a transcription."""

    success: Literal[False] = False
    text: Literal[""] = ""
    latency: float = Field(description="seconds this request took")
    word_count: Literal[0] = 0
    gpu_memory: float = 0.0
    error: str = Field(description="one sentence: what was wrong", examples=["the file is empty"])


def failure_body(request: Request, problem: Problem) -> dict[str, Any]:
    latency = round(time.perf_counter() - request.state.began, 4)
    return Failure(latency=latency, error=problem.message).model_dump()


def refusals(body: type[BaseModel], without: tuple[int, ...] = ()) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses`: every refusal in a dialect's `body`, but for those `without`."""
    return {
        status: {"model": body, "description": meaning}
        for status, meaning in MEANING.items()
        if status not in without
    }


async def failed(request: Request, error: Exception) -> JSONResponse:
    """Our own errors, and whatever nobody foresaw."""
    return answer(request, as_problem(error))


async def malformed(request: Request, error: Exception) -> JSONResponse:
    """A field that is missing, or of the wrong kind."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = str([*first["loc"], "body"][1])  # after "body" or "query"; before the index in a list
    message = first["msg"].removeprefix("Value error, ")
    if message.startswith("Expected UploadFile"):
        message = "must be a file, sent as a form part with a filename"
    return answer(request, Problem(400, f"{param}: {message[0].lower()}{message[1:]}", param))


async def refused(request: Request, error: Exception) -> JSONResponse:
    """Starlette's and FastAPI's own refusals: no such path, wrong method, unreadable form."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, OSError):  # uploads go to files; FastAPI calls this a broken form
        return await failed(request, error.__cause__)
    message = error.detail
    if not message or message == HTTPStatus(error.status_code).phrase:
        message = f"{request.method} {request.url.path}: {error.detail}"
    code = "unknown_url" if error.status_code == 404 else None
    return answer(request, Problem(error.status_code, message, None, code, error.headers or {}))


def as_problem(error: Exception) -> Problem:
    """Of our own errors; of any other the log has the traceback, and the caller learns where to look."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        error = no_room(error)
    if not isinstance(error, TranscriptionError):
        getLogger(NAME).error("unforeseen", exc_info=error)
        return Problem(500, "the service failed; its log has the request id", headers=NO_RETRY)
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, RetryLater) else {}
    if error.kind == "unauthorized":
        headers |= {"www-authenticate": "Bearer"}
    if error.kind in ("internal", "timeout", "quota"):
        headers |= NO_RETRY
    param, code = CODES.get(error.kind, (None, None))
    return Problem(STATUS[error.kind], str(error), param, code, headers)


def no_room(error: OSError) -> Unavailable:
    getLogger(NAME).error("no room for uploads", extra={"folder": gettempdir(), "reason": error.strerror})
    return Unavailable("the service has no room for this upload; try again later", NO_ROOM_RETRY_S)


def answer(request: Request, problem: Problem) -> JSONResponse:
    return JSONResponse(as_body(request, problem), problem.status, dict(problem.headers))


def as_body(request: Request, problem: Problem) -> dict[str, Any]:
    """In the dialect of the path that was requested."""
    return dialect_of(request).error_body(request, problem)
