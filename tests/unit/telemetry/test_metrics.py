"""Recording metrics, and merging the exporters of a cluster's nodes into one text."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client.parser import text_string_to_metric_families

from whisper_serve.telemetry import metrics
from whisper_serve.telemetry.metrics import SERIES, record, record_with
from whisper_serve.telemetry.prometheus import merged, scrape

NODE = """\
# HELP ray_whisper_serve_requests_total requests answered
# TYPE ray_whisper_serve_requests_total counter
ray_whisper_serve_requests_total{endpoint="/a b",node="%(node)s"} %(count)d
# HELP ray_gcs_things not of Ray Serve
# TYPE ray_gcs_things gauge
ray_gcs_things 1
# HELP ray_serve_latency_ms how long
# TYPE ray_serve_latency_ms histogram
ray_serve_latency_ms_bucket{le="+Inf",node="%(node)s"} 2
ray_serve_latency_ms_count{node="%(node)s"} 2
ray_serve_latency_ms_sum{node="%(node)s"} 3
"""


def test_samples_of_two_nodes_are_merged_under_one_header() -> None:
    text = merged([NODE % {"node": "a", "count": 3}, NODE % {"node": "b", "count": 4}], {})
    families = list(text_string_to_metric_families(text))
    requests = next(f for f in families if f.name == "ray_whisper_serve_requests")
    assert sorted(sample.value for sample in requests.samples) == [3, 4]
    assert len(families) == len({f.name for f in families}) == text.count("# TYPE") == text.count("# HELP")


def test_a_histogram_keeps_its_buckets_sum_and_count() -> None:
    families = text_string_to_metric_families(merged([NODE % {"node": "a", "count": 1}], {}))
    histogram = next(f for f in families if f.name == "ray_serve_latency_ms")
    assert (histogram.type, len(histogram.samples)) == ("histogram", 3)


def test_of_rays_own_series_only_those_of_serve_are_kept() -> None:
    assert "gcs" not in merged([NODE % {"node": "a", "count": 1}], {})


@contextmanager
def exporter(text: str | None) -> Iterator[str]:
    """A node's exporter; without a text it accepts connections and never answers."""
    until = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if text is None:
                until.wait()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            until.set()
            server.shutdown()
            thread.join()


def test_a_node_that_does_not_answer_is_left_out_and_named() -> None:
    with exporter(NODE % {"node": "a", "count": 7}) as alive, exporter(None) as silent:
        gone = "http://127.0.0.1:1/metrics"
        text = asyncio.run(scrape([alive, silent, gone], timeout_s=0.1))
    families = {f.name: f for f in text_string_to_metric_families(text)}
    assert [s.value for s in families["ray_whisper_serve_requests"].samples] == [7]
    up = {s.labels["node"]: s.value for s in families["ray_whisper_serve_node_up"].samples}
    assert list(up.values()) == [1, 0, 0]
    assert up["127.0.0.1:1"] == 0


def test_every_series_has_a_help_text_and_histograms_have_rising_buckets() -> None:
    for name, series in SERIES.items():
        assert series.name == name
        assert series.help
        assert (series.kind == "histogram") == bool(series.buckets)
        assert list(series.buckets) == sorted(set(series.buckets))


def test_exported_names_are_those_that_prometheus_scrapes() -> None:
    assert metrics.REQUESTS.exported == "ray_whisper_serve_requests_total"
    assert metrics.QUEUED_AUDIO.exported == "ray_whisper_serve_queued_audio_seconds"


@pytest.fixture
def recorded() -> Iterator[list[tuple[float, dict[str, str]]]]:
    """The values of the series of dropped segments."""
    values: list[tuple[float, dict[str, str]]] = []
    record_with({metrics.DROPPED.name: lambda value, labels: values.append((value, labels))})
    yield values
    record_with({metrics.DROPPED.name: lambda value, labels: None})


def test_values_are_recorded_with_their_labels(recorded: list[tuple[float, dict[str, str]]]) -> None:
    record(metrics.DROPPED, reason="phrases")
    record(metrics.DROPPED, 2, reason="script")
    assert recorded == [(1.0, {"reason": "phrases"}), (2, {"reason": "script"})]


def test_recording_before_set_up_does_nothing() -> None:
    record(metrics.FULL_CONTEXT_RETRIES)
