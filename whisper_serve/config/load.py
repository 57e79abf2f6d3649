"""Reads config.json, the environment and a .env file beside config.json into one frozen Config: their only reader.

A setting is one field: its type, bounds, default and description stand in its section (server.py and model.py
here, telemetry/settings.py) or in the dataclass that the section is made of, and nowhere else: the table in
docs/configuration.md is made from them.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from dotenv import dotenv_values
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from whisper_serve.config.model import Deployment, Model, Quality, Vad
from whisper_serve.config.server import Decoding, Security, Server
from whisper_serve.config.text import Text
from whisper_serve.errors import ConfigError
from whisper_serve.section import Section, nearest, settings_of
from whisper_serve.telemetry.settings import Logging, Tracing

ENV_PREFIX = "WHISPER_SERVE__"
ENV_FILE = ".env"


class Sections(Section):
    """What a config consists of, as it was written or resolved."""

    server: Server = Server()
    security: Security = Security()
    decoding: Decoding = Decoding()
    model: Model = Model()
    deployment: Deployment = Deployment()
    vad: Vad = Vad()
    quality: Quality = Quality()
    text: Text = Text()
    logging: Logging = Logging()
    tracing: Tracing = Tracing()


class Config(Sections, BaseSettings):
    """As it was written: `resolve` decides what is left open."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_parse_none_str="null",
        dotenv_filtering="only_existing",  # such a file may hold other programs' variables
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, dotenv_settings, init_settings  # the first wins


def load_config(path: str | Path) -> Config:
    """Read a JSON file, the .env beside it and the environment.

    Raises ConfigError, with one sentence, where one of them is wrong.
    """
    fields = read_json(Path(path))
    env_file = Path(path).with_name(ENV_FILE)
    check_variables(read_env_file(env_file), f" in {env_file}")
    check_variables(os.environ)
    section = ""
    try:
        for section, values in fields.items():
            check_types(section, values)
        section = ""
        return Config(_env_file=env_file, **fields)
    except ValidationError as e:
        raise ConfigError(complaint(e, section)) from e
    except SettingsError as e:
        raise ConfigError(f"the environment or {env_file}: {e}; lists are written as JSON") from e


def read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"cannot read {path}: {e.strerror}") from e
    except ValueError as e:
        raise ConfigError(f"{path} is not JSON: {e}") from e
    if not isinstance(fields, dict):
        raise ConfigError(f"{path} must hold a JSON object")
    return fields


def read_env_file(path: Path) -> Mapping[str, str | None]:
    """Empty where there is no such file."""
    try:
        return dotenv_values(path)
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read {path}: {e}") from e


def check_types(section: str, values: Any) -> None:
    """Hold the file to JSON's own types; variables, where all is text, may be converted."""
    field = Config.model_fields.get(section)
    if field and field.annotation:
        TypeAdapter(field.annotation).validate_json(json.dumps(values), strict=True)


def check_variables(names: Iterable[str], where: str = "") -> None:
    """Refuse a WHISPER_SERVE__ variable whose section does not exist; fields are checked with the file's."""
    for name in names:
        if name.upper().startswith(ENV_PREFIX):
            section = name[len(ENV_PREFIX) :].split("__")[0].lower()
            if section not in Config.model_fields:
                raise ConfigError(f"{name}{where} names no section{nearest(section, Config.model_fields)}")


def complaint(error: ValidationError, section: str = "") -> str:
    """Its first finding, as one sentence that names the field as config.json would."""
    first = error.errors()[0]
    path = [*([section] if section else []), *map(str, first["loc"])]
    where = ".".join(path)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where} is not a setting{nearest(path[-1], fields_of(path[:-1]), path[:-1])}"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    if first["type"] in ("model_type", "dataclass_type"):
        message = "it should be an object"
    return f"{where} is {json.dumps(first['input'], default=str)}; {message}"


def fields_of(path: list[str]) -> dict[str, FieldInfo]:
    """The settings of a section, which may lie in another one."""
    fields = Config.model_fields
    for name in path:
        annotation = fields[name].annotation
        fields = next(filter(None, map(settings_of, (annotation, *get_args(annotation)))), {})
    return fields
