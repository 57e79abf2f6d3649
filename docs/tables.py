"""Tables made from the code itself, README's of settings and operations.md's of metrics: `make docs` writes them in."""

import json
import re
from pathlib import Path

from whisper_serve.config.load import ENV_PREFIX, Config
from whisper_serve.telemetry.metrics import SERIES

README = Path(__file__).resolve().parents[1] / "README.md"
OPERATIONS = Path(__file__).resolve().parent / "operations.md"
PLACE = re.compile(r"(<!-- (settings|series) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings_table() -> str:
    rows = ["| setting | default | what it does |", "|---|---|---|"]
    for section, defaults in Config.model_fields.items():
        values = json.loads(defaults.default.model_dump_json())
        for name, field in type(defaults.default).model_fields.items():
            rows.append(f"| `{section}.{name}` | `{json.dumps(values[name])}` | {field.description} |")
    example = f"{ENV_PREFIX}SERVER__PORT=8010"
    return "\n".join(
        [*rows, "", f"Each can be set in the environment too, as in `{example}`; lists as JSON.\n"]
    )


def series_table() -> str:
    rows = ["| series | kind | labels | what it is |", "|---|---|---|---|"]
    for series in SERIES.values():
        labels = ", ".join(f"`{label}`" for label in series.labels)
        rows.append(f"| `{series.exported}` | {series.kind} | {labels} | {series.help} |")
    return "\n".join([*rows, ""])


TABLES = {"settings": settings_table, "series": series_table}


def with_tables(text: str) -> str:
    return PLACE.sub(lambda place: place[1] + TABLES[place[2]]() + place[3], text)


if __name__ == "__main__":
    for page in (README, OPERATIONS):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
