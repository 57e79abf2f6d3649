"""The commands of the documentation, `make VERB` and `.venv/bin/python -m MODULE`: each exists and has the options that are shown."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.service import ROOT

PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "loadtest/README.md", "loadtest/bench/README.md")
    ),
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
PYTHON = re.compile(r"^(?:\w+=\S+ )*(\S*python) -m ([\w.]+)([^#]*)")
MAKE = re.compile(r"^(?:\w+=\S+ )*make ([^-\s#][^\s#]*)([^#]*)")
HELP = """
import contextlib, io, json, runpy, sys
texts = {}
for module in json.loads(sys.argv[1]):
    sys.argv, shown = [module, "--help"], io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        texts[module] = (end.code or 0, shown.getvalue())
print(json.dumps(texts))
"""


def commands() -> Iterator[str]:
    for page in PAGES:
        text = page.read_text("utf-8")
        for language, block in BLOCK.findall(text):
            if language in ("", "bash"):
                yield from map(str.strip, block.splitlines())
        yield from INLINE.findall(BLOCK.sub("", text))


MAKES = sorted({(found[1], found[2].strip()) for line in commands() if (found := MAKE.search(line))})
MODULES = sorted(
    {(found[1], found[2], found[3].strip()) for line in commands() if (found := PYTHON.search(line))}
)


def source(module: str) -> str:
    """Of what runs as `python -m module`."""
    spec = find_spec(module)
    if spec and spec.submodule_search_locations:
        spec = find_spec(f"{module}.__main__")
    origin = spec.origin if spec else None
    assert origin, f"there is no module {module}"
    return Path(origin).read_text("utf-8")


def takes_options(module: str) -> bool:
    return "argparse" in source(module) or "loadtest.common.command" in source(module)


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[int, str]]:
    """Exit code and text of `--help`, by module."""
    modules = sorted({module for _, module, _ in MODULES if takes_options(module)})
    done = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(modules)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    texts: dict[str, tuple[int, str]] = json.loads(done.stdout)
    assert sorted(texts) == modules
    return texts


def test_the_documentation_has_commands() -> None:
    assert len(MAKES) > 20
    assert len(MODULES) > 20


@pytest.mark.parametrize(("verb", "settings"), MAKES)
def test_a_verb_of_make_exists_and_heeds_what_is_set(verb: str, settings: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"^{re.escape(verb)}:", makefile, re.MULTILINE)
    for name in re.findall(r"(\w+)=", settings):
        assert re.search(rf"\$\({name}\)|\$\(or \$\({name}\)|^{name} \?=", makefile, re.MULTILINE), name


@pytest.mark.parametrize(("python", "module", "options"), MODULES)
def test_a_module_runs_by_the_interpreter_that_is_named(
    python: str, module: str, options: str, helps: dict[str, tuple[int, str]]
) -> None:
    assert python == ".venv/bin/python"
    assert '__name__ == "__main__"' in source(module)
    if takes_options(module):
        code, text = helps[module]
        assert code == 0
        for option in re.findall(r"--[\w-]+", options):
            assert re.search(rf"{option}[ \]]", text), option
    else:
        assert "--" not in options
