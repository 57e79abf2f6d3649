"""A report in, one HTML page out that needs nothing else: facts, table, plots."""

from collections.abc import Callable
from html import escape

from loadtest.plot import Points, doubling, drawing, linear
from loadtest.report import Line, Report
from loadtest.table import cells, facts

STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
svg { width: 100%; } svg text { font-size: 12px; fill: currentColor; } svg text.t { font-weight: 600; }
.g { stroke: #8884; }
"""


def as_html(report: Report) -> str:
    """The page as text; it names no address, so a browser fetches nothing for it."""
    title = f"Load test: {report.setting.protocol}, {report.setting.shape}, {report.model}"
    told = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts(report).items())
    failures = "".join(f"<li>{escape(failure)}</li>" for failure in report.failures)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><dl>{told}</dl>{_table(report)}<main>{''.join(_plots(report))}</main>"
        + (f"<h2>Failures, some of them</h2><ul>{failures}</ul>" if failures else "")
        + "</body></html>\n"
    )


def _table(report: Report) -> str:
    head, *rows = cells(report)
    titles = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _plots(report: Report) -> list[str]:
    def over_load(figure: Callable[[Line], float | None]) -> Points:
        told = [(line.load, figure(line)) for line in report.lines]
        return sorted((load, value) for load, value in told if value is not None)

    latency = {
        "P50": over_load(lambda line: line.p50_s),
        "P95": over_load(lambda line: line.p95_s),
        "P99": over_load(lambda line: line.p99_s),
    }
    spent = {
        "decode": over_load(lambda line: line.decode_s),
        "queue": over_load(lambda line: line.queue_s),
        "inference": over_load(lambda line: line.inference_s),
    }
    over_time = {
        "P50": [(moment.at, moment.p50_s) for moment in report.timeline],
        "P95": [(moment.at, moment.p95_s) for moment in report.timeline],
    }
    requests = {"right": over_load(lambda line: line.answers_per_s)}
    audio = {"audio": over_load(lambda line: line.audio_per_s)}
    name = report.load_name
    return [
        drawing("Latency", name, "seconds", latency, doubling),
        drawing("Throughput", name, "requests/s", requests, doubling),
        drawing("Throughput", name, "audio seconds per second", audio, doubling),
        drawing("Where the service spends it", name, "seconds", spent, doubling),
        drawing("Latency over time", "seconds since the run began", "seconds", over_time, linear),
    ]
