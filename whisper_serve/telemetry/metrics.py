"""The service's metrics: a row for each series, and `record`, which any module calls.

To add a metric, write a row, and call `record` where it happens. Values are dropped until `record_with` says where they
go; serving/ray_metrics.py exports them through Ray, under the names of `exported`. A histogram costs four times a
counter, because Ray's agent handles each of its values once more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Record = Callable[[float, dict[str, str]], None]  # a value, and its labels


@dataclass(frozen=True, slots=True)
class Series:
    """One metric. Its name ends in its unit, by Prometheus's convention."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # upper bounds, of a histogram

    @property
    def own_name(self) -> str:
        return f"whisper_serve_{self.name}"

    @property
    def exported(self) -> str:
        """Its name in Prometheus; a histogram's series add _bucket, _count and _sum."""
        return f"ray_{self.own_name}" + ("_total" if self.kind == "counter" else "")


SERIES: dict[str, Series] = {}  # by name

REQUEST_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
SPEECH_S = (2, 4, 6, 8, 10, 12, 15, 20, 25, 30)
WINDOWS = (1, 2, 4, 8, 16, 32, 64)
BATCH_S = (5, 10, 20, 30, 60, 90, 120, 240, 480, 960)
RATIO = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 20)


def row(kind: Kind, name: str, help: str, *labels: str, buckets: tuple[float, ...] = ()) -> Series:
    SERIES[name] = series = Series(kind, name, help, labels, buckets)
    return series


# In the ingress. An endpoint is a route, or "other"; status 0: the caller left before an answer.
REQUESTS = row("counter", "requests", "requests answered", "endpoint", "status")
REFUSED = row("counter", "refused", "requests answered 401, 413 or 429", "endpoint", "status")
REQUEST_TIME = row("histogram", "request_seconds", "a whole request", "endpoint", buckets=REQUEST_S)
AUDIO = row("counter", "audio_seconds", "audio of requests that were answered", "endpoint")
REAL_TIME_FACTOR = row(
    "histogram",
    "real_time_factor",
    "seconds a request took over seconds of its audio",
    "endpoint",
    buckets=RATIO,
)
DECODE_TIME = row(
    "counter", "decode_seconds", "time spent decoding recordings and splitting them into windows"
)
DECODERS_LOST = row(
    "counter",
    "decoders_lost",
    "decoding processes that ended with their recording: it took too much cpu, memory or clock, its caller left, or a crash",
    "reason",
)
QUEUE_TIME = row(
    "histogram", "queue_seconds", "the longest a request's window waited for a replica", buckets=REQUEST_S
)
INFERENCE_TIME = row(
    "histogram", "inference_seconds", "engine time of a request, over its windows", buckets=REQUEST_S
)
DROPPED = row("counter", "dropped_segments", "segments that a filter removed as hallucinated", "reason")
REPLICA_DEATHS = row("counter", "replica_deaths", "windows whose replica died while they were in flight")
HEDGES = row(
    "counter",
    "hedges",
    "windows given to a second replica too, by the one that answered: first, second or none",
    "answered",
)
QUEUED_AUDIO = row("gauge", "queued_audio_seconds", "audio accepted and not transcribed yet")
BUFFERED_AUDIO = row("gauge", "buffered_audio_seconds", "decoded audio in memory")
NODE_UP = row("gauge", "node_up", "1 if the exporter of the node answered this scrape, else 0", "node")

# In model replicas.
MODEL_LOADS = row("counter", "model_loads", "models loaded", "model")
MODEL_LOAD_TIME = row("gauge", "model_load_seconds", "time that loading the model took", "model")
BATCH_WINDOWS = row("histogram", "batch_windows", "windows in an inference batch", buckets=WINDOWS)
BATCH_AUDIO = row("histogram", "batch_audio_seconds", "audio in an inference batch", buckets=BATCH_S)
BUSY = row("counter", "busy_seconds", "time spent on inference batches")
TRANSCRIBED_AUDIO = row("counter", "transcribed_audio_seconds", "audio transcribed, retries included")
CONTEXT = row(
    "histogram",
    "context_seconds",
    "audio and padding that the encoder is given for a window",
    buckets=SPEECH_S,
)
FULL_CONTEXT_RETRIES = row(
    "counter",
    "full_context_retries",
    "windows decoded again with the full context, because the result with a shortened one was doubtful",
)
ENGINE_FAILURES = row("counter", "engine_failures", "inference batches on which the engine raised an error")

# In both.
MEMORY = row(
    "gauge",
    "memory_bytes",
    "resident memory of the process (cpu), and GPU memory as its engine reports it (gpu)",
    "device",
)

_records: dict[str, Record] = {}


def record_with(records: Mapping[str, Record]) -> None:
    """Say where this process's values go: a function for each series' name."""
    _records.update(records)


def record(series: Series, value: float = 1.0, **labels: str) -> None:
    """Add `value` to a counter, set a gauge to it, or observe it in a histogram. From any thread."""
    export = _records.get(series.name)
    if export is not None:
        export(value, labels)
