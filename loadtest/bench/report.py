"""Lines and verdicts in, the bench's report out: as JSON, as Markdown."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from loadtest.bench.figures import Line, middle, of
from loadtest.bench.plan import Job
from loadtest.bench.rounds import Tried
from loadtest.markdown import NOTHING, document, table
from loadtest.origin import Origin
from loadtest.quality.report import HEAD, Row, cells


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
    def missed(self) -> list[Row]:
        return [row for row in self.rows if row.ok is False]

    @property
    def jobs(self) -> list[tuple[str, Job]]:
        """Who was asked what, by workload, callers, and order of appearance."""
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
    return f"{max(values):.1%}" if values else NOTHING


def figures(report: Report) -> list[list[str]]:
    """A row a contestant and job, under its head."""
    rows = [["workload", "callers", "peer", *COLUMNS]]
    for peer, job in report.jobs:
        lines = of(report.lines, peer, job)
        rows.append([job.workload, str(job.callers), peer, *(show(lines) for show in COLUMNS.values())])
    return rows


def facts(report: Report) -> dict[str, str]:
    return {
        **report.origin.facts,
        "Took": f"{report.seconds / 60:.0f} minutes",
        "Packages": ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        "Left out": "; ".join(f"{peer}: {why}" for peer, why in report.left_out.items()) or "none",
        **{name.capitalize(): what for name, what in report.recordings.items()},
        "faster-whisper, tried (requests/s alone, together)": "; ".join(
            f"{way.name}: {way.alone_per_s:.2f}, {way.together_per_s:.2f}" for way in report.tried
        )
        or "none",
        "Bounds missed": ", ".join(row.what for row in report.missed) or "none",
    }


def as_markdown(report: Report) -> str:
    verdicts = table([HEAD, *(cells(row) for row in report.rows)])
    return document("Bench", facts(report), [verdicts, table(figures(report))], report.origin.config)


def as_json(report: Report) -> str:
    rows = [asdict(row) | {"ok": row.ok} for row in report.rows]
    lines = [asdict(line) | {"wer": line.wer} for line in report.lines]
    return json.dumps(asdict(report) | {"rows": rows, "lines": lines}, indent=1, ensure_ascii=False) + "\n"
