"""Errors to HTTP: one table from kind to status, and one body for each dialect."""

import time
from collections.abc import Callable
from http import HTTPStatus
from logging import getLogger
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from whisper_serve.errors import Overloaded, TranscriptionError
from whisper_serve.logger import NAME

STATUS = {
    "invalid": 400,
    "not_found": 404,
    "too_large": 413,
    "overloaded": 429,
    "internal": 500,
    "unavailable": 503,
    "timeout": 504,
}

# Clients try again on 5xx by themselves: tell them where it cannot help.
NO_RETRY = {"x-should-retry": "false"}


async def failed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TranscriptionError)
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Overloaded) else {}
    if error.kind in ("internal", "timeout"):
        headers |= NO_RETRY
    return answer(request, STATUS[error.kind], str(error), headers)


async def malformed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return answer(request, 400, f"{first['loc'][-1]}: {first['msg'][0].lower()}{first['msg'][1:]}")


async def refused(request: Request, error: Exception) -> JSONResponse:
    """Starlette's and FastAPI's own refusals: no such path, wrong method, unreadable form."""
    assert isinstance(error, HTTPException)
    said = f"{request.method} {request.url.path}: {error.detail}"
    own_words = error.detail and error.detail != HTTPStatus(error.status_code).phrase
    return answer(request, error.status_code, error.detail if own_words else said, dict(error.headers or {}))


async def broken(request: Request, error: Exception) -> JSONResponse:
    getLogger(NAME).error("unforeseen", exc_info=error)
    return answer(request, 500, "the service failed; its log has the request id", NO_RETRY)


def answer(
    request: Request, status: int, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    body = next(body for prefix, body in BODIES if request.url.path.startswith(prefix))
    return JSONResponse(body(request, message), status, headers)


def seed_body(request: Request, message: str) -> dict[str, Any]:
    latency = time.perf_counter() - request.state.began
    return {
        "success": False,
        "text": "",
        "latency": round(latency, 4),
        "word_count": 0,
        "gpu_memory": 0.0,
        "error": message,
    }


# The first prefix that fits decides, so the last fits all.
BODIES: list[tuple[str, Callable[[Request, str], dict[str, Any]]]] = [("", seed_body)]
