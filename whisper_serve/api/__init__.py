"""HTTP. One file a dialect, each with its own router; to add one, write it and include it here."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from whisper_serve import __version__
from whisper_serve.api import asr_webservice, errors, native, operations
from whisper_serve.api.deps import Service
from whisper_serve.api.middleware.access_log import AccessLog
from whisper_serve.api.middleware.api_keys import ApiKeys
from whisper_serve.api.middleware.guard import OPEN, Guard
from whisper_serve.api.openai import routes as openai
from whisper_serve.errors import TranscriptionError

DIALECTS = (native, openai, asr_webservice, operations)


class Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """FastAPI promises 422 for a malformed field; here that is 400, in the body of its dialect.

        With keys, every door but those for watchers answers 401 without one.
        """
        schema = super().openapi()
        keys = self.state.service.config.security.keys
        for name, path in schema["paths"].items():
            for operation in path.values():
                operation["responses"].pop("422", None)
                if keys and name not in OPEN:
                    operation["responses"]["401"] = {"description": "no key, or one that is not known"}
                    operation["security"] = [{"key": []}]
        if keys:
            schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
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
    server, security = service.config.server, service.config.security
    api.add_middleware(  # the last one added is the first one met
        Guard,
        ring=ApiKeys(security.keys, 1 / server.num_ingress) if security.keys else None,
        admission=service.transcriber.admission,
        max_body_bytes=int(server.max_upload_mb * 1e6),
    )
    if security.trusted_proxies:
        api.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(security.trusted_proxies))
    if security.cors_origins:
        api.add_middleware(
            CORSMiddleware, allow_origins=security.cors_origins, allow_methods=["*"], allow_headers=["*"]
        )
    endpoints = frozenset(route.path for dialect in DIALECTS for route in dialect.router.routes)
    api.add_middleware(AccessLog, endpoints, answers_id=not behind_proxy)
    api.add_exception_handler(TranscriptionError, errors.failed)
    api.add_exception_handler(RequestValidationError, errors.malformed)
    api.add_exception_handler(HTTPException, errors.refused)
    api.add_exception_handler(Exception, errors.broken)
    for dialect in DIALECTS:
        api.include_router(dialect.router)
    return api
