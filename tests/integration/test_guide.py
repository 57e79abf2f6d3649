"""docs/guide.md and docs/troubleshooting.md, held to the code: the messages they explain, the settings and pages they name."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from docs.tables import settings
from tests.support.service import ROOT

DOCS = ROOT / "docs"
GUIDES = ("guide.md", "troubleshooting.md", "proxies.md")
MESSAGE = re.compile(r"^\| (?:\d{3} )?((?:`[^`]+`(?:, )?)+) \|", re.MULTILINE)
SECTIONS = "server|security|decoding|model|deployment|vad|quality|text|logging|tracing"
SETTING = re.compile(rf"`((?:{SECTIONS})\.[a-z_]+)\b(?!\.\w)")
LINK = re.compile(r"\]\(([\w./-]+\.md)?#([\w-]+)\)|\]\(((?!http)[\w./-]+)\)")


@cache
def texts() -> tuple[str, ...]:
    """Every text of the program, with … for what is filled in; and the Makefile, which has messages too."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "whisper_serve").rglob("*.py")]
    found = [text for tree in trees for node in ast.walk(tree) for text in _texts(node)]
    return (*found, (ROOT / "Makefile").read_text("utf-8"))


def _texts(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in parts)


def messages() -> list[str]:
    rows = MESSAGE.findall((DOCS / "troubleshooting.md").read_text("utf-8"))
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("message", messages())
def test_a_message_that_is_explained_is_one_of_the_service(message: str) -> None:
    pattern = re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)
    assert any(pattern.search(text) for text in texts())


def test_many_messages_are_explained() -> None:
    assert len(messages()) > 25


@pytest.mark.parametrize("page", GUIDES)
def test_every_setting_that_is_named_exists(page: str) -> None:
    named = set(SETTING.findall((DOCS / page).read_text("utf-8")))
    assert named - {name for name, _ in settings()} == set()
    assert named


@pytest.mark.parametrize("page", [path.name for path in DOCS.glob("*.md")])
def test_every_link_to_a_page_or_a_heading_leads_somewhere(page: str) -> None:
    for other, anchor, path in LINK.findall((DOCS / page).read_text("utf-8")):
        target = DOCS / (other or path or page)
        assert target.exists(), target
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{target.name}#{anchor}"


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
