"""The README's table of settings, made from the fields themselves: `make docs` writes it in."""

import json
import re
from pathlib import Path

from whisper_serve.config import ENV_PREFIX, Config

README = Path(__file__).resolve().parents[1] / "README.md"
PLACE = re.compile(r"(<!-- settings -->\n).*(<!-- end -->)", re.DOTALL)


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


def with_tables(text: str) -> str:
    return PLACE.sub(lambda place: place[1] + settings_table() + place[2], text)


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
