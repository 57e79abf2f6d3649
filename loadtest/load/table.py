"""Tables of a report, as rows of text and as Markdown. To add a column: a row in CALLERS or SERVICE."""

from collections.abc import Callable

from loadtest.common.markdown import NOTHING, document, table
from loadtest.load.report import Line, Report


def seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def percent(value: float | None) -> str:
    """A change, with its sign."""
    return NOTHING if value is None else f"{value:+.1%}"


Columns = dict[str, Callable[[Line], str]]

CALLERS: Columns = {
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
    "Refused after (s)": lambda line: seconds(line.refused_after_s),
    "Retry-After (s)": lambda line: seconds(line.retry_after_s),
}

SERVICE: Columns = {  # as it reports them; and of this client
    "Decode (s)": lambda line: seconds(line.decode_s),
    "Queue (s)": lambda line: seconds(line.queue_s),
    "Inference (s)": lambda line: seconds(line.inference_s),
    "Batch (windows)": lambda line: number(line.batch_windows),
    "Largest batch": lambda line: number(line.batch_most),
    "Batch (audio s)": lambda line: number(line.batch_s),
    "Client CPU": lambda line: f"{line.client_cpu:.0%}",
    "Client lag (s)": lambda line: seconds(line.client_lag_s),
}


def tables(report: Report) -> dict[str, list[list[str]]]:
    """By title, rows of text, the head first."""
    return {
        "As the callers see it": _cells(report, CALLERS, 4),
        "As the service reports it, and of the client": _cells(report, SERVICE, 0),
    }


def _cells(report: Report, columns: Columns, always: int) -> list[list[str]]:
    """A row a line; a column that nothing was measured for is left out, but for the first `always`."""
    rows = [[line.label, *(show(line) for show in columns.values())] for line in report.lines]
    whole = [[report.load_name, *columns], *rows]
    shown = [i for i in range(len(whole[0])) if i <= always or any(row[i] != NOTHING for row in rows)]
    return [[row[i] for i in shown] for row in whole]


def title(report: Report) -> str:
    return f"Load test: {report.setting.protocol}, {report.setting.shape}, {report.model}"


def facts(report: Report) -> dict[str, str]:
    """What stands above the table: with what, where and when."""
    s = report.setting
    known = {
        "Model": report.model,
        **report.origin.facts,
        "Load": f"{s.protocol}, {s.shape}, {s.mix} clips ({s.clips})",
        "At rest": f"{report.rest_s:.2f} s a request",
        "Clips left out": ", ".join(report.left_out) or "none",
        "Change against": report.before or "nothing: the first of its kind",
    }
    doubts = f"some of the latency is this client's own: {'; '.join(report.doubts)}"
    return known | ({"Beware": doubts} if report.doubts else {})


def as_markdown(report: Report) -> str:
    parts = [[f"## {name}", "", *table(rows, "---:")] for name, rows in tables(report).items()]
    if report.failures:
        parts.append(["## Failures, some of them", "", *(f"- `{failure}`" for failure in report.failures)])
    return document(title(report), facts(report), parts, report.origin.config)
