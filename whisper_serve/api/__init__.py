"""HTTP. One module a dialect; to add one, write it with its Dialect, and list that here."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from whisper_serve import __version__
from whisper_serve.api import asr_webservice, docs, errors, groq, native, operations, raw_body, whisper_cpp
from whisper_serve.api.deps import Service
from whisper_serve.api.middleware.access_log import AccessLog
from whisper_serve.api.middleware.api_keys import ApiKeys
from whisper_serve.api.middleware.guard import Guard
from whisper_serve.api.openai import routes as openai
from whisper_serve.api.paths import TrailingSlashes
from whisper_serve.api.responses import TIMING_HEADERS
from whisper_serve.errors import TranscriptionError

# Paths that none of them owns are answered as the first one would.
DIALECTS = (
    native.DIALECT,
    openai.DIALECT,
    groq.DIALECT,
    asr_webservice.DIALECT,
    whisper_cpp.DIALECT,
    operations.DIALECT,
    docs.DIALECT,
)
KEYLESS = frozenset[str]().union(*(dialect.keyless for dialect in DIALECTS))
# Headers that programs of web pages may read, beside those that browsers always show.
EXPOSED = (
    "retry-after",
    "x-request-id",
    "x-should-retry",
    "x-warning",
    "asr-engine",
    *TIMING_HEADERS.values(),
)
ENDPOINTS = frozenset(route.path for dialect in DIALECTS for route in dialect.routes)


class Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """FastAPI promises 422 for a malformed field; here that is 400, in the body of its dialect.

        With API keys, every path but the keyless ones answers 401 without one.
        """
        schema = super().openapi()
        schema["servers"] = [{"url": ".", "description": "this service"}]  # behind whatever prefix
        keys = self.state.service.config.security.keys
        for name, path in schema["paths"].items():
            for operation in path.values():
                operation["responses"].pop("422", None)
                if keys and name not in KEYLESS:
                    operation["responses"]["401"] = {"description": "There is no API key, or an unknown one."}
                    operation["security"] = [{"key": []}]
        if keys:
            schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for route in native.DIALECT.routes:
            raw_body.described(schema["paths"][route.path]["post"], schema["components"]["schemas"])
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema


def create_api(service: Service, behind_proxy: bool = False) -> FastAPI:
    """The whole HTTP side of `service`, as an ASGI application.

    behind_proxy: Ray Serve's, which names requests by itself.
    """
    api = Api(
        title="whisper_serve",
        summary="Speech to text: Whisper, served by Ray Serve.",
        version=__version__,
        openapi_url=docs.OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        root_path_in_servers=False,
    )
    api.state.service = service
    api.state.dialects = DIALECTS
    add_middleware(api, service, behind_proxy)
    api.add_exception_handler(RequestValidationError, errors.malformed)
    api.add_exception_handler(HTTPException, errors.refused)
    for error in (TranscriptionError, Exception):
        api.add_exception_handler(error, errors.failed)
    for dialect in DIALECTS:
        api.include_router(dialect.router)
    return api


def add_middleware(api: FastAPI, service: Service, behind_proxy: bool) -> None:
    """The last one added is the first one that a request passes."""
    server, security = service.config.server, service.config.security
    api.add_middleware(
        Guard,
        api_keys=ApiKeys(security.keys, service.transcriber.admission.usage) if security.keys else None,
        keyless=KEYLESS,
        traffic=service.traffic,
        admission=service.transcriber.admission,
        max_body_bytes=int(server.max_upload_mb * 1e6),
    )
    if security.trusted_proxies:
        api.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(security.trusted_proxies))
    if security.cors_origins:
        api.add_middleware(
            CORSMiddleware,
            allow_origins=security.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    api.add_middleware(TrailingSlashes)
    api.add_middleware(AccessLog, ENDPOINTS, answers_id=not behind_proxy)
