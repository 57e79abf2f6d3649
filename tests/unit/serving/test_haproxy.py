from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from whisper_serve.config.server import Server
from whisper_serve.serving.haproxy import rules
from whisper_serve.serving.http_protocol import http_bounds


def test_ray_s_template_begins_with_the_section_that_a_setting_is_added_to() -> None:
    assert HAPROXY_CONFIG_TEMPLATE.startswith("global\n")
    assert HAPROXY_CONFIG_TEMPLATE.index("frontend http_frontend") < HAPROXY_CONFIG_TEMPLATE.index(
        "{{ healthz_rules|safe }}"
    )


def test_the_rules_name_each_bound() -> None:
    lines = rules(http_bounds(Server(max_headers=7))).splitlines()
    assert [line.split(" status ")[1][:3] for line in lines] == ["414", "431", "431"]
    assert [line.split(" gt ")[1].split()[0] for line in lines] == ["16000", "7", "64000"]
