"""Tries the ports of a service without Ray's token, and prints as JSON what each of them answered.

    python -m tests.walls.tokenless PORT...     run by the tests in a process of its own, as another user of the machine

Every method of every gRPC service in Ray, and every path of its HTTP servers, is called on every port.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection, HTTPException
from itertools import chain
from pathlib import Path

import grpc
import ray

from tests.support.namespaces import become_nobody

HOME = Path(ray.__file__).parent
GRPC_METHOD = re.compile(r"'(/[\w.]+/\w+)'")
HTTP_ROUTE = re.compile(r"""(?:routes|router)\.(?:add_)?(get|post|put|delete)\(\s*f?["'](/[^"']*)["']""")
# No generated code names these: they are C++'s alone, or a library's.
OTHER_METHODS = (
    "/ray.rpc.ObjectManagerService/Push",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.ObjectManagerService/FreeObjects",
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
DENIED = {"UNAUTHENTICATED", "401"}
ABSENT = {"UNIMPLEMENTED", "404", "405"}


def grpc_methods() -> list[str]:
    generated = [*HOME.glob("core/generated/*_grpc.py"), *HOME.glob("serve/generated/*_grpc.py")]
    found = {method for file in generated for method in GRPC_METHOD.findall(file.read_text())}
    return sorted(found | set(OTHER_METHODS))


def http_routes() -> list[tuple[str, str]]:
    files = [*HOME.glob("dashboard/**/*.py"), *HOME.glob("_private/runtime_env/agent/*.py")]
    found = {(verb.upper(), path) for file in files for verb, path in HTTP_ROUTE.findall(file.read_text())}
    return sorted((verb, re.sub(r"\{.*?\}", "x", path)) for verb, path in found)


def by_grpc(port: int, methods: list[str]) -> Iterator[tuple[str, str]]:
    """Method and status. A port that speaks no gRPC gives none."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=2)
        except grpc.FutureTimeoutError:
            return
        for method in methods:
            call = channel.unary_unary(method, lambda _: b"", lambda received: received)
            try:
                call(None, timeout=2)
                yield method, "OK"
            except grpc.RpcError as e:
                yield method, e.code().name


def by_http(port: int, routes: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Verb, path and status. Prometheus's exporters give one line: they answer every path with their metrics."""
    for verb, path in [("GET", "/"), ("GET", "/metrics"), *routes]:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request(verb, path, b"" if verb in ("POST", "PUT") else None)
            answer = connection.getresponse()
            if path == "/" and answer.read().startswith(b"# HELP"):
                yield "GET metrics", "200"
                return
            yield f"{verb} {path}", str(answer.status)
        except (HTTPException, OSError):  # it speaks no HTTP
            return
        finally:
            connection.close()


def tried(calls: Iterable[tuple[str, str]]) -> dict[str, object]:
    """How many calls were denied, and each that was answered with its status. Calls that the port does not know are left out."""
    statuses = dict(calls)
    return {
        "denied": sum(status in DENIED for status in statuses.values()),
        "answered": {call: status for call, status in statuses.items() if status not in DENIED | ABSENT},
    }


def main(ports: list[str]) -> dict[str, dict[str, object]]:
    methods, routes = grpc_methods(), http_routes()
    become_nobody()
    return {p: tried(chain(by_grpc(int(p), methods), by_http(int(p), routes))) for p in ports}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
