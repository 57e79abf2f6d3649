"""/docs and /redoc: the pages of Swagger UI and Redoc, with assets of our own host, for use without internet.

Every address in them is relative, so that they work behind any prefix. They show what is not secret, and need no key.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from whisper_serve.api.dialect import Dialect
from whisper_serve.api.errors import failure_body

STATIC = Path(str(files("fastapi_offline") / "static"))  # that package's files are all that is used of it
NAMES = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "favicon.png")
ASSETS = {f"/docs/assets/{name}": STATIC / name for name in NAMES}
PAGES = ("/docs", "/redoc")
OPENAPI = "/openapi.json"

router = APIRouter(include_in_schema=False)
DIALECT = Dialect(router, failure_body, keyless=frozenset((*PAGES, OPENAPI, *ASSETS)))

INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
POLICY = (  # nothing leaves the host: Redoc would fetch its maker's logo
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def swagger(up: str) -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url=f"{up}openapi.json",
        title="whisper_serve",
        swagger_js_url=f"{up}docs/assets/swagger-ui-bundle.js",
        swagger_css_url=f"{up}docs/assets/swagger-ui.css",
        swagger_favicon_url=f"{up}docs/assets/favicon.png",
    )


def redoc(up: str) -> HTMLResponse:
    return get_redoc_html(
        openapi_url=f"{up}openapi.json",
        title="whisper_serve",
        redoc_js_url=f"{up}docs/assets/redoc.standalone.js",
        redoc_favicon_url=f"{up}docs/assets/favicon.png",
        with_google_fonts=False,
    )


def page(request: Request, create: Callable[[str], HTMLResponse]) -> HTMLResponse:
    """create: is given the way up from the page's address, which may have been requested with a slash at its end."""
    made = create("../" if request.scope.get("raw_path", b"").endswith(b"/") else "")
    made.headers["content-security-policy"] = policy(bytes(made.body).decode())
    return made


def policy(html: str) -> str:
    """Of scripts in the page itself only those that it was made with may run."""
    hashes = (b64encode(sha256(script.encode()).digest()).decode() for script in INLINE_SCRIPT.findall(html))
    return POLICY.format(scripts=" ".join(f"'sha256-{hash}'" for hash in hashes))


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Swagger UI: the endpoints and their fields, and requests to them."""
    return page(request, swagger)


@router.get("/redoc")
async def reference(request: Request) -> HTMLResponse:
    """Redoc: the same as a reference to read."""
    return page(request, redoc)


def add_asset(path: str, file: Path) -> None:
    @router.get(path)
    async def asset() -> FileResponse:
        return FileResponse(file, headers={"cache-control": "max-age=3600"})


for path, file in ASSETS.items():
    add_asset(path, file)
