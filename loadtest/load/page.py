"""HTML page of a report, which needs nothing else: facts, tables, plots, configuration.

To add a plot: a Plot in `plots`.
"""

import json
from collections.abc import Callable
from html import escape
from pathlib import Path

from loadtest.load.plots import Plot, Points, drawing
from loadtest.load.report import Line, Report
from loadtest.load.table import facts, tables, title

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def as_html(report: Report) -> str:
    """The page as text; it names no address, so a browser fetches nothing for it."""
    known = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts(report).items())
    failures = "".join(f"<li>{escape(failure)}</li>" for failure in report.failures)
    config = escape(json.dumps(report.origin.config, indent=1, ensure_ascii=False))
    return document(
        title(report),
        f"<h1>{escape(title(report))}</h1><dl>{known}</dl>"
        f"{''.join(_table(name, rows) for name, rows in tables(report).items())}"
        f"<main>{''.join(drawing(plot) for plot in plots(report))}</main>"
        + (f"<h2>Failures, some of them</h2><ul>{failures}</ul>" if failures else "")
        + f"<details><summary>Configuration</summary><pre>{config}</pre></details>",
    )


def document(name: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(name)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _table(name: str, table: list[list[str]]) -> str:
    head, *rows = table
    titles = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f'<h2>{escape(name)}</h2><div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def plots(report: Report) -> list[Plot]:
    """Each figure over the load, and latency over time with the moments at which windows open."""

    def over_load(title: str, unit: str, **figures: Callable[[Line], float | None]) -> Plot:
        series = {name: _points(report, figure) for name, figure in figures.items()}
        return Plot(title, report.load_name, unit, series, doubling=True)

    over_time = {
        "P50": [(moment.at, moment.p50_s) for moment in report.timeline],
        "P95": [(moment.at, moment.p95_s) for moment in report.timeline],
    }
    opened = [(window.start, window.label) for window in report.windows]
    return [
        over_load("Latency", "seconds", P50=lambda x: x.p50_s, P95=lambda x: x.p95_s, P99=lambda x: x.p99_s),
        Plot("Latency over time", "seconds since the run began", "seconds", over_time, marks=opened),
        over_load("Throughput", "right answers a second", right=lambda x: x.answers_per_s),
        over_load("Throughput", "seconds of audio a second", audio=lambda x: x.audio_per_s),
        over_load(
            "Where the service spends it",
            "seconds",
            decode=lambda x: x.decode_s,
            queue=lambda x: x.queue_s,
            inference=lambda x: x.inference_s,
        ),
        over_load(
            "Not answered",
            "requests a second",
            refused=lambda x: x.refused / x.seconds,
            failed=lambda x: (x.wrong + x.errors) / x.seconds,
        ),
        over_load("Batch sizes", "windows", mean=lambda x: x.batch_windows, largest=lambda x: x.batch_most),
        over_load("Batch sizes", "seconds of audio, mean", mean=lambda x: x.batch_s),
    ]


def _points(report: Report, figure: Callable[[Line], float | None]) -> Points:
    values = [(line.load, figure(line)) for line in report.lines]
    return sorted((load, value) for load, value in values if value is not None)
