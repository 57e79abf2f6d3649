"""Reports as files: Markdown tables, documents of facts, tables and a configuration, and JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
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


def save(name: Path, texts: Mapping[str, str]) -> None:
    """Write each text to `name` with its ending, show the Markdown one, and say where they are."""
    name.parent.mkdir(parents=True, exist_ok=True)
    for ending, text in texts.items():
        name.with_name(name.name + ending).write_text(text, encoding="utf-8")
    print(texts[".md"])
    print(f"{name}{', '.join(texts)}")


def as_json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"
