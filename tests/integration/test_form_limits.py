"""Forms that are refused before they are parsed, over ASGI."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import wav
from tests.support.openai_schema import check

pytestmark = pytest.mark.anyio

OPENAI, NATIVE = "/v1/audio/transcriptions", "/transcribe"
PATHS = (OPENAI, NATIVE, "/transcribe/stream", "/asr")
BOUNDARY = "multipart/form-data; boundary=b"


def form(*more: bytes) -> bytes:
    sound = b'content-disposition: form-data; name="audio_file"; filename="a.wav"\r\n\r\n' + wav(1)
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in (*more, sound)) + b"--b--\r\n"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=b; charset=punycode",
        "Multipart/Form-Data;boundary=b;ChArSeT=utf-7",
        'multipart/form-data; boundary=b; charset="utf-16"',
        "application/x-www-form-urlencoded; charset=idna",
        "multipart/form-data; boundary=b" + ";a" * 500,
    ],
)
async def test_a_form_in_an_odd_charset_is_not_read(
    client: httpx.AsyncClient, path: str, content_type: str
) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    answer = await client.post(path, content=never(), headers={"content-type": content_type})
    assert answer.status_code == 400
    if path == OPENAI:
        check("error", answer.json())
    assert "charset" in answer.text or "Content-Type" in answer.text


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf8"', "us-ascii", "ISO-8859-1", "latin1"])
async def test_a_form_in_a_common_charset_is_read(client: httpx.AsyncClient, charset: str) -> None:
    answer = await client.post(
        NATIVE, content=form(), headers={"content-type": f"{BOUNDARY}; charset={charset}"}
    )
    assert answer.status_code == 200, answer.text


async def test_charsets_of_single_parts_do_not_matter(client: httpx.AsyncClient) -> None:
    named = b'content-disposition: form-data; name="_charset_"\r\n\r\npunycode'
    part = (
        b'content-disposition: form-data; name="prompt"\r\ncontent-type: text/plain; charset=punycode\r\n\r\n'
    )
    body = form(named, part + "say Käse".encode())
    answer = await client.post(NATIVE, content=body, headers={"content-type": BOUNDARY})
    assert answer.json()["text"] == "Käse"


@pytest.mark.parametrize(
    "path", [OPENAI, f"/openai{OPENAI}", "/asr", "/inference"]
)  # NATIVE takes it for sound
@pytest.mark.parametrize("declared", [True, False])
async def test_a_url_encoded_form_is_bounded_while_it_comes(
    client: httpx.AsyncClient, path: str, declared: bool
) -> None:
    sent = 0

    async def ampersands() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 5_000_000:
            sent += 100_000
            yield b"&" * 100_000

    headers = {"content-type": "application/x-www-form-urlencoded"}
    headers |= {"content-length": "5000000"} if declared else {}
    answer = await client.post(path, content=ampersands(), headers=headers)
    assert answer.status_code == 413
    assert sent < 1_300_000
    if path == OPENAI:
        check("error", answer.json())
    assert "the URL-encoded form is larger than 1 MB" in answer.text
