"""HAProxy as Ray Serve runs it, with the bounds of `http_protocol` in its configuration, and the answers of `unanswered_haproxy`."""

from math import ceil
from typing import Any

import ray
from ray.serve._private import controller as ray_controller
from ray.serve._private import haproxy as ray_haproxy

from whisper_serve.serving.http_protocol import HttpBounds, head_refusal, url_refusal
from whisper_serve.serving.proxy import bounds_here
from whisper_serve.serving.unanswered_haproxy import answer_in_dialects

controller: Any = ray_controller
haproxy: Any = ray_haproxy
MANAGER: Any = haproxy.HAProxyManager.__ray_metadata__.modified_class  # what ray.remote made an actor of

ROOM_BYTES = 4096  # of HAProxy's buffer, for what it adds to a head
# As many times the headers accepted are counted, and refused with 431; more are refused with 400.
COUNTED, MAX_COUNTED = 4, 32767
RULE = """\
    http-request return status {status} content-type text/plain hdr connection close string "{sentence}" if {{ {test} }}
"""


def rules(bounds: HttpBounds) -> str:
    """For the frontend that callers reach. What its buffer does not hold HAProxy refuses with 400 by itself."""
    tests = {
        f"url,length gt {bounds.url_bytes}": url_refusal(bounds),
        f"req.fhdr_cnt gt {bounds.headers}": head_refusal(bounds),
        f"req.hdrs,length gt {bounds.head_bytes}": head_refusal(bounds),
    }
    return "".join(
        RULE.format(status=status, sentence=sentence, test=test) for test, (status, sentence) in tests.items()
    )


class HAProxyManager(MANAGER):  # type: ignore[misc]  # Ray's is untyped
    """Ray Serve's actor that starts HAProxy, one a node."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        bounds = bounds_here()
        counted = min(COUNTED * bounds.headers, MAX_COUNTED)
        haproxy.HAPROXY_HEALTHZ_RULES_TEMPLATE = rules(bounds) + haproxy.HAPROXY_HEALTHZ_RULES_TEMPLATE
        haproxy.HAPROXY_CONFIG_TEMPLATE = haproxy.HAPROXY_CONFIG_TEMPLATE.replace(
            "global\n", f"global\n    tune.http.maxhdr {counted}\n", 1
        )
        answer_in_dialects(haproxy)
        super().__init__(*args, **kwargs)
        config = self._haproxy.cfg  # written to its file only when this has returned
        config.bufsize = bounds.url_bytes + bounds.head_bytes + ROOM_BYTES
        config.timeout_http_request_s = ceil(bounds.head_timeout_s)
        config.timeout_client_s = ceil(bounds.body_timeout_s)


def bound_haproxy() -> None:
    """For RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH: the controller calls it before it starts proxies."""
    controller.HAProxyManager = ray.remote(num_cpus=0)(HAProxyManager)
