"""HTTP. One file a dialect, each with its own router; to add one, write it and include it here."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from whisper_serve import __version__
from whisper_serve.api import asr, errors, openai, ops, transcribe
from whisper_serve.api.deps import Service
from whisper_serve.api.passage import Passage
from whisper_serve.errors import TranscriptionError


class Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """FastAPI promises 422 for a malformed field; here that is 400, in the body of its dialect."""
        schema = super().openapi()
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema


def create_api(service: Service, behind_proxy: bool = False) -> FastAPI:
    """The whole HTTP side of `service`, as an ASGI application.

    behind_proxy: Ray Serve's, which names requests by itself.
    """
    api = Api(
        title="whisper_serve", summary="Speech to text: Whisper, served by Ray Serve.", version=__version__
    )
    api.state.service = service
    api.add_middleware(
        Passage, max_body_bytes=int(service.config.server.max_upload_mb * 1e6), answers_id=not behind_proxy
    )
    api.add_exception_handler(TranscriptionError, errors.failed)
    api.add_exception_handler(RequestValidationError, errors.malformed)
    api.add_exception_handler(HTTPException, errors.refused)
    api.add_exception_handler(Exception, errors.broken)
    for dialect in (transcribe, openai, asr, ops):
        api.include_router(dialect.router)
    return api
