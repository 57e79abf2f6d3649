"""A recording as the body of a request, with its options as query parameters: as if they were sent as a form.

For `curl --data-binary @file` and `wget --post-file=file`, whose own content type is that of a form.
"""

from collections.abc import Callable, Coroutine
from tempfile import SpooledTemporaryFile
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette._utils import AwaitableOrContextManager, AwaitableOrContextManagerWrapper
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartParser

FILE = "audio_file"
MULTIPART = "multipart/form-data"
RAW = "application/octet-stream"  # in OpenAPI; any type but a multipart form's is accepted


class RawBody(Request):
    """A request whose body is the file, unless it is a multipart form; it has no file where the body is empty."""

    def form(self, **limits: Any) -> AwaitableOrContextManager[FormData]:
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == MULTIPART:
            return super().form(**limits)
        return AwaitableOrContextManagerWrapper(self._read())

    async def _read(self) -> FormData:
        spooled: Any = SpooledTemporaryFile(max_size=MultiPartParser.spool_max_size)  # noqa: SIM115  # by the form
        upload = UploadFile(spooled, size=0, filename="body")
        try:
            async for piece in self.stream():
                await upload.write(piece)
            await upload.seek(0)
        except BaseException:
            await run_in_threadpool(spooled.close)
            raise
        fields: list[tuple[str, str | UploadFile]] = [*self.query_params.multi_items()]
        if upload.size:
            fields.append((FILE, upload))
        else:
            await upload.close()
        self._form = FormData(fields)
        return self._form


class RawBodyRoute(APIRoute):
    """Of an endpoint that takes a form with a file, and the file alone too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(RawBody(request.scope, request.receive))

        return handler


def described(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """In OpenAPI's words: the body that is the file, and the fields of the form as query parameters."""
    content = operation["requestBody"]["content"]
    form = schemas[content[MULTIPART]["schema"]["$ref"].rpartition("/")[2]]
    operation["parameters"] = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {key: value for key, value in field.items() if key != "description"},
            "description": f"with the recording as the body: {field.get('description', name)}",
        }
        for name, field in form["properties"].items()
        if name != FILE
    ]
    content[RAW] = {"schema": {"type": "string", "format": "binary"}}
    operation["requestBody"]["description"] = (
        "A form with the recording; or the recording itself, of any other content type, and query parameters."
    )
