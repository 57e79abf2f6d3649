"""Report of a bench, as JSON and as Markdown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from loadtest.bench.figures import Line, middle, of
from loadtest.bench.plan import Job, Tried
from loadtest.common import bounds, markdown
from loadtest.common.bounds import Row
from loadtest.common.provenance import Origin


@dataclass(frozen=True, slots=True)
class Report:
    origin: Origin  # its configuration is the one that the service was started with
    versions: Mapping[str, str]  # of the peers' packages
    recordings: Mapping[str, str]  # workload -> what it is
    tried: tuple[Tried, ...]
    left_out: Mapping[str, str]  # peer -> why
    seconds: float  # the whole took
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]

    @property
    def jobs(self) -> list[tuple[str, Job]]:
        """Who did what, by workload, callers, and order of appearance."""
        found = dict.fromkeys((line.peer, Job(line.workload, line.callers)) for line in self.lines)
        places = {name: place for place, name in enumerate(self.recordings)}
        return sorted(found, key=lambda one: (places[one[1].workload], one[1].callers))


COLUMNS: dict[str, Callable[[Sequence[Line]], str]] = {  # medians over the rounds
    "requests/s": lambda lines: f"{middle(lines, lambda line: line.requests_per_s):.2f}",
    "audio s/s": lambda lines: f"{middle(lines, lambda line: line.audio_per_s):.1f}",
    "p50 (s)": lambda lines: f"{middle(lines, lambda line: line.p50_s):.2f}",
    "p95 (s)": lambda lines: f"{middle(lines, lambda line: line.p95_s):.2f}",
    "WER": lambda lines: f"{middle(lines, lambda line: line.wer):.2%}",
    "CPU s/audio s": lambda lines: f"{middle(lines, lambda line: line.cpu_per_audio_s):.4f}",
    "peak memory (MB)": lambda lines: f"{max(line.peak_mb for line in lines):.0f}",
    "client CPU": lambda lines: _share([line.client_cpu for line in lines if line.client_cpu is not None]),
    "rounds": lambda lines: str(len(lines)),
}


def _share(values: Sequence[float]) -> str:
    return f"{max(values):.1%}" if values else markdown.NOTHING


def figures(report: Report) -> list[list[str]]:
    """A row a contestant and job, under its head."""
    rows = [["workload", "callers", "peer", *COLUMNS]]
    for peer, job in report.jobs:
        lines = of(report.lines, peer, job)
        rows.append([job.workload, str(job.callers), peer, *(show(lines) for show in COLUMNS.values())])
    return rows


def facts(report: Report) -> dict[str, str]:
    tried = (f"{way.name}: {way.alone_per_s:.2f}, {way.together_per_s:.2f}" for way in report.tried)
    return {
        **report.origin.facts,
        "Took": f"{report.seconds / 60:.0f} minutes",
        "Packages": ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        "Left out": "; ".join(f"{peer}: {why}" for peer, why in report.left_out.items()) or "none",
        **{name.capitalize(): what for name, what in report.recordings.items()},
        "faster-whisper, tried (requests/s alone, together)": "; ".join(tried) or "none",
        "Bounds missed": ", ".join(bounds.missed(report.rows)) or "none",
    }


def as_markdown(report: Report) -> str:
    parts = [bounds.verdicts(report.rows), markdown.table(figures(report))]
    return markdown.document("Bench", facts(report), parts, report.origin.config)


def as_json(report: Report) -> str:
    lines = [asdict(line) | {"wer": line.wer} for line in report.lines]
    return markdown.as_json(asdict(report) | {"rows": bounds.as_fields(report.rows), "lines": lines})
