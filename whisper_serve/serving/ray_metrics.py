"""Exports the series of telemetry/metrics.py as Ray metrics, and finds the addresses where Ray's nodes show them.

Ray gathers each process's values every ten seconds. It computes a histogram's `_sum` from its buckets, so what must add
up is a counter.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.serve import metrics as instruments

from whisper_serve.telemetry.metrics import MEMORY, SERIES, Record, Series, record, record_with

SAMPLE_S = 5.0
MEMORY_PAGES = Path("/proc/self/statm")


def export_metrics(sample: Callable[[], None]) -> None:
    """Export what this process records, and call `sample`, which records gauges, every SAMPLE_S.

    To be called in the constructor of a Ray Serve replica.
    """
    record_with({series.name: ray_metric(series) for series in SERIES.values()})
    threading.Thread(target=sample_forever, args=(sample,), name="metrics", daemon=True).start()


def ray_metric(series: Series) -> Record:
    labels: Any = series.labels  # Ray's annotation allows a single label only
    name, about = series.own_name, series.help
    if series.kind == "counter":
        counter = instruments.Counter(name, about, labels)
        return lambda value, given: counter.inc(value, given) if value > 0 else None
    if series.kind == "gauge":
        return instruments.Gauge(name, about, labels).set
    return instruments.Histogram(name, about, list(series.buckets), labels).observe


def sample_forever(sample: Callable[[], None]) -> None:
    while True:
        record(MEMORY, resident_bytes(), device="cpu")
        sample()
        time.sleep(SAMPLE_S)


def resident_bytes() -> float:
    """Memory of this process; 0 where there is no /proc."""
    try:
        return int(MEMORY_PAGES.read_text().split()[1]) * 4096.0
    except OSError:
        return 0.0


def exporters() -> list[str]:
    """URLs of the metrics of every node that is alive."""
    return [
        f"http://{bracketed(node['NodeManagerAddress'])}:{node['MetricsExportPort']}/metrics"
        for node in ray.nodes()
        if node["Alive"]
    ]


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
