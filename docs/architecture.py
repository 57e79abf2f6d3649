"""Draws the floors of the code as a mermaid picture, from the import-linter contract in pyproject.toml: `make docs`."""

import re
from pathlib import Path

from importlinter.api import read_configuration

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = re.compile(r"(<!-- floors -->\n).*?(<!-- end -->)", re.DOTALL)


def floors() -> list[str]:
    """The layers of whisper_serve, the highest first, as the contract has them: "api : serving"."""
    contracts = read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"]
    layers = next(c["layers"] for c in contracts if c["containers"] == ["whisper_serve"])
    return [str(layer) for layer in layers]


def modules(floor: str) -> list[str]:
    return [name.strip() for name in re.split(r"[:|]", floor)]


def picture() -> str:
    """A flowchart: a box for each floor, an arrow to the one below it, a line between those that may import each other."""
    lines = ["```mermaid", "flowchart TB"]
    for number, floor in enumerate(floors()):
        between = " --- " if ":" in floor else " ~~~ "
        lines += [f'    subgraph floor{number} [" "]', "        direction LR"]
        lines += [f"        {between.join(modules(floor))}", "    end"]
    lines += [f"    floor{number} --> floor{number + 1}" for number in range(len(floors()) - 1)]
    return "\n".join([*lines, "```", ""])


def with_picture(text: str) -> str:
    return PICTURE.sub(lambda place: place[1] + picture() + place[2], text)


if __name__ == "__main__":
    PAGE.write_text(with_picture(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
