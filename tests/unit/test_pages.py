import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.architecture import PAGE, floors, modules, with_picture

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "whisper_serve"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PATH = re.compile(r"`([\w/]+(?:/|\.py|\.json))`")
ROW = re.compile(r"((?:`\w+`(?:, | or )?)+) in `([\w/.]+)`")  # `ONE`, `TWO` or `THREE` in `a/file.py`


def paths() -> Iterator[str]:
    yield from PATH.findall(CONTRIBUTING.read_text("utf-8"))
    for path in PATH.findall(PAGE.read_text("utf-8")):
        if "/" in path:  # the others are those of the first description
            yield path


def rows() -> Iterator[tuple[str, str]]:
    for names, path in ROW.findall(CONTRIBUTING.read_text("utf-8")):
        yield from ((name, path) for name in re.findall(r"\w+(?=`)", names))


@pytest.mark.parametrize("path", sorted(set(paths())))
def test_a_file_that_the_pages_name_exists(path: str) -> None:
    assert (ROOT / path).exists() or (PACKAGE / path).exists()


@pytest.mark.parametrize(("name", "path"), list(rows()))
def test_a_table_that_contributing_names_is_in_its_file(name: str, path: str) -> None:
    assert re.search(rf"^\s*(?:class |def )?{name}\b", (PACKAGE / path).read_text("utf-8"), re.MULTILINE)


def test_contributing_lists_every_module_and_package_in_order_of_the_floors() -> None:
    listed = re.findall(r"^  (\w+)(?:/|\.py) ", CONTRIBUTING.read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(module for floor in floors() for module in modules(floor))
    number = {module: i for i, floor in enumerate(floors()) for module in modules(floor)}
    assert [number[name] for name in listed] == sorted(number[name] for name in listed)


def test_the_picture_of_the_floors_is_current() -> None:
    page = PAGE.read_text("utf-8")
    assert with_picture(page) == page, "make docs"
