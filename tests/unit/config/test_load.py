import json
import os
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from whisper_serve.config.load import Config, load_config
from whisper_serve.config.resolve import resolve
from whisper_serve.errors import ConfigError
from whisper_serve.host.hardware import Machine
from whisper_serve.text.filters import Thresholds
from whisper_serve.types import VadOptions

LAPTOP = Machine(cpus=2, gpus=0)
KEY = {"name": "alice", "sha256": "0" * 64}
FIRST_CONFIG = Path(__file__).parent / "first_config.json"


def written(tmp_path: Path, fields: Any) -> Path:
    path = tmp_path / "config.json"
    path.write_text(fields if isinstance(fields, str) else json.dumps(fields))
    return path


def test_the_shipped_config_fits_a_laptop_with_two_cores() -> None:
    config = resolve(load_config("config.json"), LAPTOP)
    assert (config.device, config.engine, config.limits.num_cpus) == ("cpu", "auto", 2)


def test_the_shipped_config_fits_one_core() -> None:
    assert resolve(load_config("config.json"), Machine(cpus=1, gpus=0)).limits.num_cpus == 2


def test_the_first_config_json_loads_unchanged() -> None:
    config = load_config(FIRST_CONFIG)
    loaded = json.loads(config.model_dump_json())
    for section, values in json.loads(FIRST_CONFIG.read_text()).items():
        assert {name: loaded[section][name] for name in values} == values
    assert resolve(config, LAPTOP).limits.num_cpus == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"server": {"prot": 1}}, "server.prot is not a setting; did you mean server.port?"),
        ({"sever": {}}, "sever is not a setting; did you mean server?"),
        ({"server": {"port": "8000"}}, 'server.port is "8000"; it should be a valid integer'),
        ({"server": {"port": True}}, "server.port is true; it should be a valid integer"),
        ({"server": {"port": 70000}}, "server.port is 70000; it should be less than or equal to 65535"),
        ({"server": 4}, "server is 4; it should be an object"),
        ({"model": {"device": "gpu"}}, "model.device is \"gpu\"; it should be 'auto', 'cuda' or 'cpu'"),
        (
            {"model": {"engine": "ctranslate"}},
            'model.engine is "ctranslate"; it should be one of auto, openvino,',
        ),
        ({"model": {"engine": "ctranslate"}}, "did you mean ctranslate2?"),
        ({"model": {"size": "bsae", "device": "cpu"}}, 'model.size is "bsae"; it should be one of tiny.en, '),
        ({"model": {"size": "larg-v3"}}, "did you mean large-v3?"),
        ({"model": {"supported_formats": ["wav"]}}, "file-name ending"),
        (
            {"quality": {"filters": ["repetitions"]}},
            'quality.filters.0 is "repetitions"; it should be one of',
        ),
        ({"quality": {"filters": ["repetitions"]}}, "did you mean repetition?"),
        ({"quality": {"temperatures": []}}, "quality.temperatures is []; "),
        ({"quality": {"no_speech_treshold": 1}}, "did you mean quality.no_speech_threshold?"),
        ({"quality": {"no_speech_threshold": 2}}, "it should be less than or equal to 1"),
        ({"vad": {"threshold": "0.4"}}, 'vad.threshold is "0.4"; it should be a valid number'),
        ({"vad": 4}, "vad is 4; it should be an object"),
        (
            {"security": {"keys": [KEY | {"sha256": "my secret"}]}},
            'security.keys.0.sha256 is "9 characters long"; it should be the SHA-256 of the key, 64 digits from 0-9 and a-f, which '
            "printf '%s' \"$KEY\" | sha256sum prints",
        ),
        (
            {"security": {"keys": [KEY | {"name": "a b"}]}},
            'security.keys.0.name is "a b"; it should have 1 to 64 letters, digits and . _ @ -',
        ),
        (
            {"security": {"cors_origins": ["example.org/app"]}},
            "'example.org/app' in it would match no page: an origin is scheme and host, such as \"https://example.org\", "
            'and a port where the address has one; did you mean "https://example.org"?',
        ),
        (
            {"security": {"cors_origins": ["http://Example.org:8080"]}},
            'did you mean "http://example.org:8080"?',
        ),
        (
            {"security": {"cors_origins": ["https://example.org/"]}},
            'did you mean "https://example.org"?',
        ),
        (
            {"security": {"keys": [KEY, KEY]}},
            'security.keys is ["alice", "alice"]; two keys have the same name',
        ),
        (
            {"security": {"tls_cert": "cert.pem"}},
            "security.tls_key is null; tls_cert and tls_key go together",
        ),
        (
            {"security": {"trusted_proxies": ["proxy.local"]}},
            "'proxy.local' in it should be an address such as",
        ),
        ({"security": {"trusted_proxies": ["10.0.0.1/8"]}}, 'is not a network; did you mean "10.0.0.0/8"?'),
        ({"text": {"replacements": {"a": ""}}}, 'text.replacements is {"a": ""}; neither a phrase nor what'),
        ({"text": {"replacements": ["a"]}}, "text.replacements is ["),
        ({"security": {"keys": [KEY | {"replacements": {"a": "b\n"}}]}}, "'a' has a line break"),
        ("{", "is not JSON"),
        ([], "must hold a JSON object"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, fields: Any, message: str) -> None:
    with pytest.raises(ConfigError) as e:
        load_config(written(tmp_path, fields))
    assert message in str(e.value)
    assert "\n" not in str(e.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json: No such file"):
        load_config("nowhere.json")


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_SERVE__SERVER__PORT", "8010")
    monkeypatch.setenv("WHISPER_SERVE__QUALITY__TEMPERATURES", "[0.0, 0.5]")
    config = load_config(written(tmp_path, {"server": {"port": 9000, "host": "127.0.0.1"}}))
    assert (config.server.port, config.server.host) == (8010, "127.0.0.1")
    assert config.quality.temperatures == (0.0, 0.5)


def test_replacements_may_stand_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_SERVE__TEXT__REPLACEMENTS", '{"Jay Son": "JSON"}')
    config = load_config(written(tmp_path, {"text": {"replacements": {"gonna": "going to"}}}))
    assert config.text.replacements == {"gonna": "going to", "Jay Son": "JSON"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WHISPER_SERVE__SERVER__PROT", "1", "did you mean server.port?"),
        ("WHISPER_SERVE__SEVER__PORT", "1", "did you mean server?"),
        ("WHISPER_SERVE__SERVER__PORT", "eight", 'server.port is "eight"'),
        ("WHISPER_SERVE__MODEL__SIZE", "bsae", 'model.size is "bsae"'),
        ("WHISPER_SERVE__QUALITY__FILTERS", "repetition", "lists are written as JSON"),
    ],
)
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_mistake_in_a_variable_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str, value: str, message: str
) -> None:
    if place == ".env":
        (tmp_path / ".env").write_text(f"{name}={value}\n")
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as e:
        load_config(written(tmp_path, {}))
    assert message in str(e.value)
    assert "\n" not in str(e.value)


def test_an_env_file_beside_the_config_wins_over_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# a comment\nWHISPER_SERVE__SERVER__PORT=8010\nwhisper_serve__server__proxy='haproxy'\n"
        'export WHISPER_SERVE__VAD__THRESHOLD="0.4"\nWHISPER_SERVE__LOGGING__FILE=null\n'
        "WHISPER_SERVE__QUALITY__TEMPERATURES=[0.0, 0.5]\n"
    )
    config = load_config(written(tmp_path, {"server": {"port": 9000, "host": "127.0.0.1"}}))
    assert (config.server.port, config.server.host, config.server.proxy) == (8010, "127.0.0.1", "haproxy")
    assert (config.vad.threshold, config.logging.file) == (0.4, None)
    assert config.quality.temperatures == (0.0, 0.5)


def test_the_environment_wins_over_an_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(
        "WHISPER_SERVE__SERVER__PORT=8010\nWHISPER_SERVE__SERVER__HOST=127.0.0.2\n"
    )
    monkeypatch.setenv("WHISPER_SERVE__SERVER__PORT", "8020")
    config = load_config(written(tmp_path, {}))
    assert (config.server.port, config.server.host) == (8020, "127.0.0.2")


def test_other_programs_variables_in_an_env_file_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODEL_PATH", raising=False)
    (tmp_path / ".env").write_text("MODEL_PATH=base\nSERVER=x\nserver__port=1\n")
    assert load_config(written(tmp_path, {})) == Config()
    assert "MODEL_PATH" not in os.environ


def test_an_env_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"WHISPER_SERVE__MODEL__SIZE=\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"cannot read .*\.env: .*utf-8"):
        load_config(written(tmp_path, {}))


def test_voice_activity_detection_and_filters_take_their_sections_as_they_are(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, {}))
    assert isinstance(config.vad, VadOptions)
    assert isinstance(config.quality, Thresholds)
    for section, made_of in ((config.vad, VadOptions()), (config.quality, Thresholds())):
        for field in fields(made_of):
            assert getattr(section, field.name) == getattr(made_of, field.name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": {"device": "cuda"}}, "shows no GPU"),
        ({"deployment": {"cpu_per_replica": 3}}, "has 2 CPUs"),
        ({"deployment": {"num_replicas": 4, "cpu_per_replica": 1}, "server": {"num_cpus": 4}}, "need 5 CPUs"),
    ],
)
def test_what_the_machine_cannot_give_is_refused(tmp_path: Path, fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(load_config(written(tmp_path, fields)), LAPTOP)


def test_auto_takes_the_gpu_where_there_is_one(tmp_path: Path) -> None:
    config = resolve(load_config(written(tmp_path, {})), Machine(cpus=16, gpus=1))
    assert (config.device, config.engine, config.limits.replica_gpus) == (
        "cuda",
        "openai_whisper",
        0.1,
    )


def test_more_gpu_than_there_is_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"deployment": {"num_replicas": 4, "gpu_per_replica": 0.5}})
    with pytest.raises(ConfigError, match=r"4 replicas of 0\.5 GPUs need 2"):
        resolve(load_config(path), Machine(cpus=16, gpus=1))


def test_a_config_survives_the_trip_to_a_replica() -> None:
    config = resolve(load_config("config.json"), LAPTOP)
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_model_at_a_local_path_goes_by_its_last_part(tmp_path: Path) -> None:
    (tmp_path / "my-whisper.pt").touch()
    fields = {"model": {"size": str(tmp_path / "my-whisper.pt"), "aliases": ["whisper-1", "me/{size}"]}}
    assert load_config(written(tmp_path, fields)).model.ids == ("my-whisper", "whisper-1", "me/my-whisper")


def test_trusted_proxies_are_addresses_and_networks() -> None:
    proxies = ["10.0.0.1", "10.0.0.0/8", "2001:DB8::/32", "::1"]
    assert Config(security={"trusted_proxies": proxies}).security.trusted_proxies == tuple(proxies)
