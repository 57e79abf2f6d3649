"""Fetches the Prometheus exporters of all nodes and merges them into one text.

Of Ray's own series only Ray Serve's are kept.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import httpx

from whisper_serve.telemetry.metrics import NODE_UP

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KEPT = ("ray_whisper_serve_", "ray_serve_")
TIMEOUT_S = 3.0  # for all: a dead node must not keep Prometheus waiting for the others


@dataclass(slots=True)
class Family:
    """The lines of one metric family, in the order of the text format."""

    about: dict[str, str] = field(default_factory=dict)  # the HELP and the TYPE line
    samples: list[str] = field(default_factory=list)

    def lines(self) -> Iterable[str]:
        yield from (self.about[what] for what in ("HELP", "TYPE") if what in self.about)
        yield from self.samples


async def scrape(addresses: Sequence[str], timeout_s: float = TIMEOUT_S) -> str:
    """Fetch all at once. An exporter that does not answer is left out, and its `node_up` is 0."""
    async with httpx.AsyncClient(timeout=timeout_s, trust_env=False) as client:
        texts = await asyncio.gather(*(fetch(client, address) for address in addresses))
    up = {address: text is not None for address, text in zip(addresses, texts, strict=True)}
    return await asyncio.to_thread(merged, [text for text in texts if text is not None], up)


async def fetch(client: httpx.AsyncClient, address: str) -> str | None:
    try:
        answer = await client.get(address)
    except httpx.HTTPError:
        return None
    return answer.text if answer.is_success else None


def merged(texts: Iterable[str], up: dict[str, bool]) -> str:
    """One text with a single HELP and TYPE line for each family, followed by the samples of all nodes."""
    families: dict[str, Family] = {}
    for text in texts:
        add(families, text)
    families[NODE_UP.exported] = Family(
        {"HELP": f"# HELP {NODE_UP.exported} {NODE_UP.help}", "TYPE": f"# TYPE {NODE_UP.exported} gauge"},
        [
            f'{NODE_UP.exported}{{node="{httpx.URL(a).netloc.decode()}"}} {int(is_up)}'
            for a, is_up in up.items()
        ],
    )
    return "\n".join([line for family in families.values() for line in family.lines()]) + "\n"


def add(families: dict[str, Family], text: str) -> None:
    family = None
    for line in text.splitlines():
        _, what, name, *_ = (*line.split(" ", 3), "", "", "")
        if line.startswith("#") and what in ("HELP", "TYPE"):
            family = families.setdefault(name, Family()) if name.startswith(KEPT) else None
            if family:
                family.about.setdefault(what, line)
        elif line and not line.startswith("#") and family:
            family.samples.append(line)
