"""HAProxy's answer where an ingress died: as in `unanswered`, a dialect's 503, where Ray Serve wants 500 in plain text."""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ray.serve._private.haproxy import _haproxy_fmt_literal

STAND_IN = "whisper_serve.api.stand_in"  # imported where HAProxy is started: nothing else there needs the API
ERRORFILES = re.compile(r"^ *errorfile (50[234]) .*\n", re.MULTILINE)


def answer_in_dialects(templates: Any) -> None:
    """Change Ray Serve's templates of HAProxy's configuration, which are in the module given, before they are used."""
    stand_in = import_module(STAND_IN)
    bodies: Mapping[str, str] = stand_in.fixed_bodies()
    headers = " ".join(f"hdr {name} {value}" for name, value in stand_in.DIED.headers.items())
    templates.HAPROXY_CONFIG_TEMPLATE = ERRORFILES.sub(
        rf'    http-error status \1 content-type application/json lf-string "%[var(txn.unanswered)]" {headers}\n',
        templates.HAPROXY_CONFIG_TEMPLATE,
    )
    rules = [
        f"    http-request set-var-fmt(txn.unanswered) {_haproxy_fmt_literal(bodies[path])} if {{ path_beg {path} }}\n"
        for path in sorted(bodies, key=len)
    ]
    rules.append("    http-after-response set-status 503 if { status 502 }\n")
    # Where a connection that served another request before is lost, HAProxy closes the caller's without an answer.
    rules.append("    option http-server-close\n")
    templates.HAPROXY_HEALTHZ_RULES_TEMPLATE = "".join(rules) + templates.HAPROXY_HEALTHZ_RULES_TEMPLATE
