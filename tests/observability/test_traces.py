"""The spans of a request over ingress and replica, as an OpenTelemetry collector receives them."""

from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.conftest import wav
from tests.observability.collector import Collector, collecting
from tests.support.service import FAKE, Running, started, wait_until

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def service(collector: Collector) -> Iterator[Running]:
    with started(FAKE | {"TRACING__ENDPOINT": collector.url}) as running:
        yield running.wait_until_ready()


def post(
    service: Running, trace: str, path: str = "/transcribe", flags: str = "01", **fields: str
) -> httpx.Response:
    with service.client() as client:
        return client.post(
            path,
            files={"audio_file": ("a.wav", wav(65))},
            data={"language": "en", **fields},
            headers={"traceparent": f"00-{trace}-{CALLER}-{flags}"},
        )


@pytest.mark.parametrize(("path", "trace"), [("/transcribe", TRACE), ("/transcribe/stream", "1" * 32)])
def test_a_request_is_one_tree_from_its_caller_to_the_model(
    service: Running, collector: Collector, path: str, trace: str
) -> None:
    assert post(service, trace, path).status_code == 200
    wait_until(
        lambda: len(collector.of(trace)) == 11
    )  # the request, decode; window, infer and batch of three
    spans = collector.of(trace)
    by_id = {span.span_id: span for _, span in spans}

    def path_of(span: Span) -> list[str]:
        return [span.name, *(path_of(by_id[span.parent_span_id]) if span.parent_span_id in by_id else [])]

    root = next(span for _, span in spans if span.name == f"POST {path}")
    assert root.parent_span_id.hex() == CALLER
    window = ["window", f"POST {path}"]
    assert sorted(path_of(span) for _, span in spans) == sorted(
        [[f"POST {path}"], ["decode", f"POST {path}"]]
        + 3 * [window, ["infer", *window], ["batch", "infer", *window]]
    )
    made_in = {span.name: process for process, span in spans}
    assert made_in == {
        f"POST {path}": "ingress",
        "decode": "ingress",
        "window": "ingress",
        "infer": "model",
        "batch": "model",
    }


def test_spans_lie_within_their_parents(service: Running, collector: Collector) -> None:
    trace = "2" * 32
    post(service, trace, prompt="slow 0.3")
    wait_until(lambda: len(collector.of(trace)) == 11)
    spans = {span.span_id: span for _, span in collector.of(trace)}
    for span in spans.values():
        around = spans.get(span.parent_span_id)
        slack = 5_000_000  # ns; a batch is timed by another clock
        if around:
            assert around.start_time_unix_nano - slack <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= around.end_time_unix_nano + slack
    batches = [span for span in spans.values() if span.name == "batch"]
    assert all(b.end_time_unix_nano - b.start_time_unix_nano >= 0.3e9 for b in batches)


def test_a_request_that_fails_has_error_status_in_its_trace(service: Running, collector: Collector) -> None:
    trace = "3" * 32
    answer = post(service, trace, prompt="explode")
    wait_until(lambda: any(span.name == "POST /transcribe" for _, span in collector.of(trace)))
    root = next(span for _, span in collector.of(trace) if span.name == "POST /transcribe")
    attributes = {a.key: a.value for a in root.attributes}
    assert attributes["http.response.status_code"].int_value == answer.status_code == 500
    assert root.status.code == Status.STATUS_CODE_ERROR
    assert attributes["request_id"].string_value == answer.headers["x-request-id"]


def test_a_caller_that_declines_a_trace_gets_none(service: Running, collector: Collector) -> None:
    unwanted, wanted = "4" * 32, "5" * 32
    post(service, unwanted, flags="00")
    post(service, wanted)
    wait_until(lambda: len(collector.of(wanted)) == 11)
    assert collector.of(unwanted) == []
