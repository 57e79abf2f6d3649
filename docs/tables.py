"""Generates the tables of configuration.md, operations.md and guide.md from the code: `make docs` writes them in."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from docs.other_names import OTHER_NAMES
from docs.sizes import sizes_table
from whisper_serve.config.load import Config
from whisper_serve.section import settings_of
from whisper_serve.telemetry.metrics import SERIES

DOCS = Path(__file__).resolve().parent
PAGES = (DOCS / "configuration.md", DOCS / "operations.md", DOCS / "guide.md")
FIRST_CONFIG = DOCS.parent / "tests/unit/config/first_config.json"
PLACE = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its full name, those of nested sections and of lists' items included."""
    for section, field in Config.model_fields.items():
        yield from _settings_in(section, field.annotation)


def _settings_in(place: str, annotation: Any) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in settings_of(annotation).items():
        yield f"{place}.{name}", field
        item = "[]" if getattr(field.annotation, "__origin__", None) is tuple else ""
        for nested in get_args(field.annotation):
            yield from _settings_in(f"{place}.{name}{item}", nested)


def settings_table() -> str:
    rows = ["| setting | default | what it does |", "|---|---|---|"]
    for name, field in settings():
        default = "" if field.is_required() else f"`{json.dumps(to_jsonable_python(field.default))}`"
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join([*rows, ""])


def other_names_table() -> str:
    known = dict(settings())
    rows = ["| there | here | how |", "|---|---|---|"]
    for row in OTHER_NAMES:
        if row.setting and row.setting not in known:
            raise KeyError(row.setting)
        setting = f"`{row.setting}`" if row.setting else "none"
        rows.append(f"| {', '.join(f'`{name}`' for name in row.names)} | {setting} | {row.how} |")
    return "\n".join([*rows, ""])


def series_table() -> str:
    rows = ["| series | kind | labels | what it is |", "|---|---|---|---|"]
    for series in SERIES.values():
        labels = ", ".join(f"`{label}`" for label in series.labels)
        rows.append(f"| `{series.exported}` | {series.kind} | {labels} | {series.help} |")
    return "\n".join([*rows, ""])


def first_config() -> str:
    return f"```json\n{FIRST_CONFIG.read_text(encoding='utf-8').strip()}\n```\n"


TABLES = {
    "settings": settings_table,
    "other_names": other_names_table,
    "first_config": first_config,
    "series": series_table,
    "sizes": sizes_table,
}


def with_tables(text: str) -> str:
    return PLACE.sub(lambda place: place[1] + TABLES[place[2]]() + place[3], text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
