"""What a form may be before it is parsed, on the event loop, by python-multipart and Starlette."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from whisper_serve.api.deps import Service
from whisper_serve.errors import BadRequest

URLENCODED = b"application/x-www-form-urlencoded"
FORMS = (b"multipart/form-data", URLENCODED)
CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso8859-1", "latin-1", "latin1")
PIECE_BYTES = 16_384  # of a URL-encoded form, parsed at once
MAX_CONTENT_TYPE = 1000  # bytes; parsing takes time that grows with its square


def check_content_type(headers: Headers) -> None:
    """Raises BadRequest for a charset that is not cheap to decode: the fields would be, in whatever codec is named."""
    given = headers.get("content-type", "")
    if len(given) > MAX_CONTENT_TYPE:
        raise BadRequest(f"the Content-Type is longer than {MAX_CONTENT_TYPE} bytes")
    if "charset" not in given.lower():
        return
    content_type, options = parse_options_header(given)
    charset = options.get(b"charset", b"utf-8").decode("latin-1").strip()
    if content_type in FORMS and charset.lower() not in CHARSETS:
        raise BadRequest(f"forms in the charset {charset[:40]!r} are not accepted; send UTF-8")


class FormRequest(Request):
    """Bounds a URL-encoded body where it is parsed as a form, but nowhere else: recordings come under that type too."""

    _is_parsed = False

    def form(self, **limits: Any) -> Any:
        self._is_parsed = True
        return super().form(**limits)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        content_type, _ = parse_options_header(self.headers.get("content-type"))
        is_bounded = self._is_parsed and content_type == URLENCODED
        read = 0
        async for chunk in super().stream():
            if not is_bounded:
                yield chunk
                continue
            read += len(chunk)
            self._check_size(read)
            for start in range(0, len(chunk), PIECE_BYTES):
                yield chunk[start : start + PIECE_BYTES]
                # A megabyte may take half a second: others have their turns in between.
                await asyncio.sleep(0)

    def _check_size(self, read: int) -> None:
        service: Service = self.app.state.service
        limit_mb = service.config.server.max_urlencoded_mb
        if read > limit_mb * 1e6:
            raise HTTPException(
                413, f"the URL-encoded form is larger than {limit_mb:g} MB, the limit; send multipart"
            )


class FormRoute(APIRoute):
    """An endpoint whose request is a FormRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(FormRequest(request.scope, request.receive))

        return handle
