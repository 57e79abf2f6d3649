"""What endpoints are given."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from whisper_serve.config.resolve import Resolved
from whisper_serve.transcription.transcriber import Transcriber


@dataclass(frozen=True, slots=True)
class Service:
    config: Resolved
    transcriber: Transcriber
    ready: Callable[[], Awaitable[bool]]  # whether a model replica answers
    metrics: Callable[[], Awaitable[str]] | None = None  # the cluster's figures as Prometheus reads them


def get_service(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


def get_caller(connection: HTTPConnection) -> str:
    caller: str = connection.state.caller  # as the gate told it
    return caller


CallerDep = Annotated[str, Depends(get_caller)]
