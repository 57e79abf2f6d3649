"""A report of a load test, for tests: three loads, latency in proportion to them."""

from loadtest.common.provenance import Machine, Origin
from loadtest.load.report import Report, Setting, report_of
from loadtest.load.samples import Outcome, Run, Sample, Window

WINDOW = Window("4", 4, 10.0, 20.0, client_cpu=0.1)
NOW = "2026-01-02T03:04:05+00:00"


def sample(
    started: float, latency_s: float, outcome: Outcome = "ok", retry_after_s: float | None = None
) -> Sample:
    detail = "" if outcome in ("ok", "refused") else f"{outcome} <b>&"
    reported = {"queue_s": latency_s / 2, "batch_windows": 4.0, "batch_s": 20.0}
    return Sample(started, latency_s, outcome, "a.flac", 5.0, detail, retry_after_s, **reported)


def report(taken: str = NOW, slower: float = 1.0, model: str = "tiny.en", count: int = 40) -> Report:
    windows = tuple(Window(str(n), n, n * 100.0, n * 100.0 + 10, 0.2) for n in (4, 8, 16))
    samples = [
        sample(w.start + i / 5, slower * w.load * (1 + i / count) / 4) for w in windows for i in range(count)
    ]
    samples.append(sample(windows[0].start, 1.0, "wrong"))
    run = Run(windows, tuple(samples), rest_s=0.2, left_out=("hard.flac",))
    setting = Setting("transcribe", "ladder", "mixed", "0a1b2c3d")
    return report_of(run, origin(taken), setting, model)


def origin(taken: str = NOW, **environment: str) -> Origin:
    made = ("abc1234", "python -m loadtest", Machine("A CPU", 2, 24, ""))
    return Origin(taken, *made, {"model": {"size": "tiny"}}, environment)
