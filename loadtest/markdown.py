"""Facts and tables in, a Markdown document out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "-"  # in a cell that has no figure


def row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def table(rows: Sequence[Sequence[str]], rule: str = "---") -> list[str]:
    """Lines; the first row is the head. `rule` says how columns stand: `---:` for figures."""
    head, *rest = rows
    return [row(head), row([rule] * len(head)), *(row(texts) for texts in rest)]


def document(
    title: str, facts: Mapping[str, str], parts: Sequence[Sequence[str]], config: Mapping[str, Any]
) -> str:
    """A title, a list of facts, parts of lines, and the configuration at the end."""
    lines = [f"# {title}", "", *(f"- {name}: {value}" for name, value in facts.items())]
    for part in parts:
        lines += ["", *part]
    return "\n".join([*lines, "", "```json", json.dumps(config, ensure_ascii=False), "```"]) + "\n"
