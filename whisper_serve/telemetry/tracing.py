"""OpenTelemetry spans of a request over ingress and model replicas, sent by OTLP over HTTP.

`span` is a context manager around the code that is timed; `traceparent` gives the headers to pass to another process.
No span is made until `set_up_tracing` is given an endpoint.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from whisper_serve.telemetry.settings import Tracing

SERVICE = "whisper_serve"
W3C = TraceContextTextMapPropagator()

_tracers: dict[str, Tracer] = {}  # this process's, once set up


def set_up_tracing(config: Tracing, process: str) -> None:
    """process: the name of this process in its spans, such as 'ingress'."""
    if config.endpoint is None:
        return
    # Imported only when needed: they take 10 MB.
    sdk = import_module("opentelemetry.sdk.trace")
    export = import_module("opentelemetry.sdk.trace.export")
    sampling = import_module("opentelemetry.sdk.trace.sampling")
    otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    resource = import_module("opentelemetry.sdk.resources").Resource
    provider = sdk.TracerProvider(
        sampler=sampling.ParentBased(sampling.TraceIdRatioBased(config.sample_ratio)),
        resource=resource.create({"service.name": SERVICE, "whisper_serve.process": process}),
    )
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter(config.endpoint)))
    _tracers[SERVICE] = provider.get_tracer(SERVICE)


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Mapping[str, str] | None = None,
    **attributes: str | float,
) -> Iterator[Span]:
    """A span around the block, within the current span, or within the one that the headers in `parent` name."""
    tracer = _tracers.get(SERVICE)
    if tracer is None:
        yield INVALID_SPAN
        return
    context = None if parent is None else W3C.extract(parent)
    with tracer.start_as_current_span(name, context, kind, attributes, record_exception=False) as opened:
        yield opened


def note(name: str, seconds: float, **attributes: str | float) -> None:
    """A span of `seconds` that ended just now."""
    tracer = _tracers.get(SERVICE)
    if tracer is not None:
        ended = time.time_ns()
        tracer.start_span(name, attributes=attributes, start_time=ended - round(seconds * 1e9)).end(ended)


def traceparent() -> dict[str, str]:
    """The current span as W3C headers, from which another process can continue; empty where there is none."""
    headers: dict[str, str] = {}
    if trace.get_current_span() is not INVALID_SPAN:
        W3C.inject(headers)
    return headers
