"""Download a file from a URL; an interrupted download is resumed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import Web
from whisper_serve.weights.files import CHUNK, Target, counted

TIMEOUT = httpx.Timeout(60.0, connect=5.0)  # seconds: between two chunks, and to connect


def save(origin: Web, target: Target) -> None:
    """Write the file to `target.part`, after the bytes that are there. Raises WeightsError."""
    have = target.part.stat().st_size if target.part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    client = partial(httpx.stream, headers=headers, timeout=TIMEOUT, follow_redirects=True)
    try:
        with client("GET", origin.url) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                return  # nothing was missing; the hash tells whether it is right
            _receive(response, target.part, have, partial(target.report, origin.url))
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise WeightsError(str(e) or type(e).__name__) from e


def _receive(response: httpx.Response, part: Path, have: int, report: Callable[[int, int], None]) -> None:
    resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
    if not resumed and response.status_code != httpx.codes.OK:
        raise WeightsError(f"HTTP {response.status_code}")
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise WeightsError(f"asked for the bytes from {have} on, and was sent others")
    start = have if resumed else 0
    length = int(response.headers.get("Content-Length", 0))
    total = start + length if length else 0
    with part.open("ab" if resumed else "wb") as out:
        out.writelines(counted(response.iter_bytes(CHUNK), start, total, report))
