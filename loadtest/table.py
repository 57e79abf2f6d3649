"""A report in, its table out: as rows of text, and as Markdown. To add a column: a row in COLUMNS."""

import json
from collections.abc import Callable, Sequence

from loadtest.report import Line, Report

NOTHING = "-"


def seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def percent(value: float | None) -> str:
    """A change, with its sign."""
    return NOTHING if value is None else f"{value:+.1%}"


COLUMNS: dict[str, Callable[[Line], str]] = {  # after the load; the seed's four first
    "Avg latency (s)": lambda line: seconds(line.avg_s),
    "P95 (s)": lambda line: seconds(line.p95_s),
    "Error rate": lambda line: f"{line.error_rate:.1%}",
    "% change": lambda line: percent(line.change),
    "P50 (s)": lambda line: seconds(line.p50_s),
    "P99 (s)": lambda line: seconds(line.p99_s),
    "First words P50 (s)": lambda line: seconds(line.first_p50_s),
    "Requests/s": lambda line: f"{line.answers_per_s:.2f}",
    "Audio s/s": lambda line: f"{line.audio_per_s:.1f}",
    "Requests": lambda line: str(line.requests),
    "Wrong": lambda line: str(line.wrong),
    "Refused": lambda line: str(line.refused),
    "Told to wait (s)": lambda line: seconds(line.told_to_wait_s),
    "Decode (s)": lambda line: seconds(line.decode_s),
    "Queue (s)": lambda line: seconds(line.queue_s),
    "Inference (s)": lambda line: seconds(line.inference_s),
    "Client CPU": lambda line: f"{line.client_cpu:.0%}",
}


def cells(report: Report) -> list[list[str]]:
    """The table, its head first; a column that nothing was measured for is left out."""
    rows = [[line.label, *(show(line) for show in COLUMNS.values())] for line in report.lines]
    table = [[report.load_name, *COLUMNS], *rows]
    told = [i for i in range(len(table[0])) if i <= 4 or any(row[i] != NOTHING for row in rows)]
    return [[row[i] for i in told] for row in table]


def facts(report: Report) -> dict[str, str]:
    """What stands above the table: with what, where and when."""
    m, s = report.machine, report.setting
    return {
        "Model": report.model,
        "Machine": f"{m.cpu}, {m.cores} cores, {m.memory_gb} GiB; GPU: {m.gpu or 'none'}",
        "Commit": report.commit,
        "Taken": report.taken,
        "Load": f"{s.protocol}, {s.shape}, {s.mix} clips ({s.clips})",
        "At rest": f"{report.rest_s:.2f} s a request",
        "Clips left out": ", ".join(report.left_out) or "none",
        "Change against": report.before or "nothing: the first of its kind",
        "Overrides": ", ".join(f"{k}={v}" for k, v in s.environment.items()) or "none",
        "Command": report.command,
    }


def as_markdown(report: Report) -> str:
    head, *rows = cells(report)
    lines = [f"# Load test: {report.setting.protocol}, {report.setting.shape}, {report.model}", ""]
    lines += [f"- {name}: {value}" for name, value in facts(report).items()]
    lines += ["", *(markdown_row(row) for row in (head, ["---:"] * len(head), *rows))]
    if report.failures:
        lines += ["", "Failures, some of them:", *(f"- `{failure}`" for failure in report.failures)]
    lines += ["", "```json", json.dumps(report.setting.config, ensure_ascii=False), "```"]
    return "\n".join(lines) + "\n"


def markdown_row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"
