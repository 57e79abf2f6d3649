"""One API that the service speaks: its endpoints, the body of its errors, its streams. The rows: api/__init__.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.routing import Route, WebSocketRoute

from whisper_serve.api.paths import route_path


class Stream(BaseModel):
    kind: str = Field(examples=["sse"])
    path: str = Field(examples=["/transcribe/stream"])


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as HTTP knows it."""

    status: int
    message: str
    param: str | None = None  # the field at fault
    code: str | None = None  # for programs, in OpenAI's words
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dialect:
    router: APIRouter
    error_body: Callable[[Request, Problem], dict[str, Any]]  # as JSON
    streams: tuple[Stream, ...] = ()  # what /capabilities lists
    keyless: frozenset[str] = frozenset()  # paths that are answered without an API key

    @property
    def routes(self) -> list[Route | WebSocketRoute]:
        return [route for route in self.router.routes if isinstance(route, (Route, WebSocketRoute))]

    def owns(self, path: str) -> bool:
        """Whether it has an endpoint of this path, for whatever method, or a prefix that the path begins with."""
        prefix = self.router.prefix
        return bool(prefix and f"{path}/".startswith(f"{prefix}/")) or any(
            route.path_regex.match(path) for route in self.routes
        )


def dialect_of(request: Request) -> Dialect:
    """The dialect that owns the request's path; the first one, where none does."""
    dialects: tuple[Dialect, ...] = request.app.state.dialects
    path = route_path(request.scope)
    return next((dialect for dialect in dialects if dialect.owns(path)), dialects[0])
