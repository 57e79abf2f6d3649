"""docs/configuration.md and other pages with generated tables, held to the code."""

import re
import shlex
from pathlib import Path

import pytest

from docs.tables import DOCS, PAGES, settings, with_tables
from whisper_serve.config.load import ENV_PREFIX, load_config

CONFIGURATION = DOCS / "configuration.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_tables_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run `make docs`"


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in settings() if not field.description] == []


def test_the_example_of_precedence_gives_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = dict(re.findall(r"```(json|dotenv|bash)\n(.*?)```", _before_tables(), re.DOTALL))
    (tmp_path / "config.json").write_text(blocks["json"])
    (tmp_path / ".env").write_text(blocks["dotenv"])
    variable, *command = shlex.split(blocks["bash"])
    assert command == ["make", "run"]
    name, _, value = variable.partition("=")
    assert name.startswith(ENV_PREFIX)
    monkeypatch.setenv(name, value)
    config = load_config(tmp_path / "config.json")
    sentence = "serves the model `small` on port 8020, and accepts recordings of up to an hour"
    assert sentence in CONFIGURATION.read_text(encoding="utf-8")
    assert (config.model.size, config.server.port, config.server.max_audio_s) == ("small", 8020, 3600)


def _before_tables() -> str:
    return CONFIGURATION.read_text(encoding="utf-8").partition("<!-- settings -->")[0]
