"""What endpoints are given: the service, the caller's name, and a stack of contexts that ends with the response."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from whisper_serve.config.resolve import Resolved
from whisper_serve.errors import Stopping
from whisper_serve.transcription.transcriber import Transcriber


@dataclass(slots=True)
class Traffic:
    """Requests of this ingress, and whether it wants more of them. Those of watchers, such as /readyz, do not count."""

    running: int = 0
    draining: bool = False  # /readyz says 503
    accepting: bool = True  # new requests are not refused

    @contextmanager
    def request(self) -> Iterator[None]:
        """Raises Stopping."""
        if not self.accepting:
            raise Stopping("the service is stopping; try again in a moment")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


@dataclass(frozen=True, slots=True)
class Service:
    config: Resolved
    transcriber: Transcriber
    ready: Callable[[], Awaitable[bool]]  # whether a model replica answers
    metrics: Callable[[], Awaitable[str]] | None = None  # the cluster's metrics in Prometheus's text format
    traffic: Traffic = field(default_factory=Traffic)


def get_service(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


def get_caller(connection: HTTPConnection) -> str:
    caller: str = connection.state.caller  # set by Guard
    return caller


CallerDep = Annotated[str, Depends(get_caller)]


async def get_stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


# What is entered here is left when the response has been sent, or the caller is gone.
StackDep = Annotated[AsyncExitStack, Depends(get_stack, scope="request")]
