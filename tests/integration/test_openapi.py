"""/openapi.json: it describes every field, and every answer is as it says."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.conftest import fake_config, fake_infer, wav
from whisper_serve.api import KEYLESS, create_api
from whisper_serve.api.deps import Service
from whisper_serve.api.raw_body import RAW
from whisper_serve.transcription.transcriber import Transcriber


async def ready() -> bool:
    return True


API = create_api(Service(fake_config(), Transcriber(fake_config(), fake_infer), ready))
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", API)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
RECORDING = wav(0.2)
KEYS = {"keys": [{"name": "ada", "sha256": sha256(b"secret").hexdigest()}]}
KEYED = create_api(
    Service(fake_config(security=KEYS), Transcriber(fake_config(security=KEYS), fake_infer), ready)
)
KEYED_SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", KEYED, headers={"x-api-key": "secret"})
bounded = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@SCHEMA.parametrize()
@bounded
def test_every_answer_is_documented(case: "schemathesis.Case[Any]") -> None:
    case.call_and_validate(checks=CHECKS)


@SCHEMA.include(path_regex="/(transcri|transla|asr|detect|inference)").parametrize()
@bounded
def test_every_answer_to_a_recording_is_documented(
    case: "schemathesis.Case[Any]",
) -> None:
    body: dict[str, Any] = dict(case.body) if isinstance(case.body, dict) else {}
    files = dict.fromkeys(("file", "audio_file"), RECORDING)
    case.body = RECORDING if case.media_type == RAW else body | files
    case.call_and_validate(checks=CHECKS)


KEYED_SCHEMA.config.generation.update(with_security_parameters=False)  # the test brings its own key


@KEYED_SCHEMA.parametrize()
@settings(bounded, max_examples=8)
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer secret"}], ids=["no key", "key"])
def test_every_answer_is_documented_where_keys_are_needed(
    case: "schemathesis.Case[Any]", headers: dict[str, str]
) -> None:
    answer = case.call(headers=headers)
    case.validate_response(answer, checks=CHECKS)
    allowed = bool(headers) or case.path in KEYLESS
    assert (answer.status_code != 401) == allowed


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in API.openapi()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def fields(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Name, schema and whether it must be given, of everything that can be sent."""
    for parameter in operation.get("parameters", []):
        yield (
            parameter["name"],
            parameter["schema"] | {k: parameter[k] for k in ("description", "examples") if k in parameter},
            parameter["required"],
        )
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        if kind == RAW:
            continue
        body = API.openapi()["components"]["schemas"][media["schema"]["$ref"].rpartition("/")[2]]
        for name, schema in body["properties"].items():
            yield name, schema, name in body.get("required", [])


@pytest.mark.parametrize(
    ("name", "operation"), list(operations()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_field_has_a_type_a_description_a_default_and_an_example(
    name: str, operation: dict[str, Any]
) -> None:
    assert operation["description"], name
    for field, schema, required in fields(operation):
        assert schema.get("type") or schema.get("anyOf"), field
        assert schema["description"], field
        nullable = {"type": "null"} in schema.get("anyOf", [])
        assert required or nullable or "default" in schema, field
        assert schema.get("examples") or "contentMediaType" in schema, field


@pytest.mark.parametrize(
    ("name", "operation"), list(operations()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_422_is_not_promised(name: str, operation: dict[str, Any]) -> None:
    assert "422" not in operation["responses"], name


def test_numbers_are_bounded() -> None:
    for _, operation in operations():
        for field, schema, _ in fields(operation):
            kinds = [
                kind for kind in schema.get("anyOf", [schema]) if kind.get("type") in ("integer", "number")
            ]
            assert all("minimum" in kind and "maximum" in kind for kind in kinds), field
