"""config.json and the environment in, one frozen Config out: the only reader of either.

A setting is one field: its type, bounds, default and description stand in its section (server.py and model.py
here, telemetry/settings.py), and nowhere else (the README's table is made from them). Each can be overridden by the
environment as WHISPER_SERVE__SECTION__FIELD.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from whisper_serve.config.model import Deployment, Model, Quality, Vad
from whisper_serve.config.server import Security, Server
from whisper_serve.errors import ConfigError
from whisper_serve.section import Section, nearest
from whisper_serve.telemetry.settings import Logging, Tracing

ENV_PREFIX = "WHISPER_SERVE__"


class Config(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_parse_none_str="null",
    )

    server: Server = Server()
    security: Security = Security()
    model: Model = Model()
    deployment: Deployment = Deployment()
    vad: Vad = Vad()
    quality: Quality = Quality()
    logging: Logging = Logging()
    tracing: Tracing = Tracing()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over the file


def load_config(path: str | Path) -> Config:
    """Read a JSON file and the environment; raise ConfigError with one sentence where either is wrong."""
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"cannot read {path}: {e.strerror}") from e
    except ValueError as e:
        raise ConfigError(f"{path} is not JSON: {e}") from e
    if not isinstance(fields, dict):
        raise ConfigError(f"{path} must hold a JSON object")
    check_environment(os.environ)
    section = ""
    try:
        for section, values in fields.items():
            check_types(section, values)
        section = ""
        return Config(**fields)
    except ValidationError as e:
        raise ConfigError(complaint(e, section)) from e
    except SettingsError as e:
        raise ConfigError(f"the environment: {e}; lists are written as JSON") from e


def check_types(section: str, values: Any) -> None:
    """Hold the file to JSON's own types; the environment, where all is text, may be converted."""
    field = Config.model_fields.get(section)
    if field and isinstance(field.annotation, type) and issubclass(field.annotation, Section):
        field.annotation.model_validate_json(json.dumps(values), strict=True)


def check_environment(names: Iterable[str]) -> None:
    """Refuse a WHISPER_SERVE__ variable whose section does not exist; fields are checked with the file's."""
    for name in names:
        if name.upper().startswith(ENV_PREFIX):
            section = name[len(ENV_PREFIX) :].split("__")[0].lower()
            if section not in Config.model_fields:
                raise ConfigError(f"{name} names no section{nearest(section, Config.model_fields)}")


def complaint(error: ValidationError, section: str = "") -> str:
    """Its first finding, as one sentence that names the field as config.json would."""
    first = error.errors()[0]
    path = [*([section] if section else []), *map(str, first["loc"])]
    where = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"{where} is not a setting{nearest(path[-1], fields_of(path[:-1]), path[:-1])}"
    said = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    if first["type"] == "model_type":
        said = "it should be an object"
    return f"{where} is {json.dumps(first['input'], default=str)}; {said}"


def fields_of(path: list[str]) -> Iterable[str]:
    fields = Config.model_fields
    for name in path:
        annotation = fields[name].annotation
        kind = next(
            (kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields")), None
        )
        fields = getattr(kind, "model_fields", {})
    return fields
