"""The locks follow requirements.txt and requirements-dev.txt; `make lock` renews them."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = (
    "requirements.lock",
    "requirements-torch.lock",
    "requirements-torch-cpu.lock",
    "requirements-dev.lock",
)
Versions = dict[str, set[str]]  # by package: another Python may need another version


def versions(*names: str) -> Versions:
    """The pins of requirements files or locks."""
    found: Versions = defaultdict(set)
    for name in names:
        for line in (ROOT / name).read_text("utf-8").splitlines():
            if re.match(r"\w", line):
                pin = Requirement(line.removesuffix("\\"))
                (version,) = pin.specifier
                found[canonicalize_name(pin.name)].add(version.version)
    return found


@pytest.mark.parametrize(
    ("source", "locks"),
    [
        ("requirements.txt", ("requirements.lock", "requirements-torch.lock")),
        ("requirements-dev.txt", ("requirements.lock", "requirements-dev.lock")),
    ],
)
def test_what_is_pinned_is_locked_in_the_same_versions(source: str, locks: tuple[str, ...]) -> None:
    pinned, locked = versions(source), versions(*locks)
    assert pinned == {name: locked[name] for name in pinned}


@pytest.mark.parametrize("lock", LOCKS)
def test_each_locked_package_has_hashes(lock: str) -> None:
    lines = (line for line in (ROOT / lock).read_text("utf-8").splitlines() if not line.startswith("#"))
    entries = re.split(r"\n(?=\w)", "\n".join(lines))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_the_lock_for_all_machines_has_nothing_of_cuda() -> None:
    assert not [
        name for name in versions("requirements.lock") if name.startswith(("torch", "nvidia", "cuda"))
    ]


def test_both_builds_of_pytorch_are_of_one_version() -> None:
    (version,) = versions("requirements-torch.lock")["torch"]
    assert versions("requirements-torch-cpu.lock") == {"torch": {f"{version}+cpu"}}
