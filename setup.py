"""Package metadata. The pins live in requirements.txt, and only there."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def pins(name: str) -> list[str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


setup(
    name="whisper_serve",
    version=re.findall(
        r'__version__ = "(.+)"', (HERE / "whisper_serve/__init__.py").read_text(encoding="utf-8")
    )[0],
    description="Speech to text: OpenAI's Whisper, served by Ray Serve",
    python_requires=">=3.10",
    packages=find_packages(include=["whisper_serve", "whisper_serve.*"]),
    package_data={"whisper_serve.text": ["*.json"]},
    install_requires=pins("requirements.txt"),
    extras_require={"dev": pins("requirements-dev.txt")},
)
