"""Report of the quality, as JSON and as Markdown."""

from dataclasses import asdict, dataclass

from loadtest.common import bounds, markdown
from loadtest.common.bounds import Row
from loadtest.common.provenance import Origin


@dataclass(frozen=True, slots=True)
class Report:
    origin: Origin
    engines: tuple[str, ...]
    seconds: float  # the whole took
    rows: tuple[Row, ...]


def as_markdown(report: Report) -> str:
    facts = report.origin.facts | {
        "Took": f"{report.seconds / 60:.0f} minutes",
        "Engines": ", ".join(report.engines),
        "Bounds missed": ", ".join(bounds.missed(report.rows)) or "none",
    }
    return markdown.document("Quality", facts, [bounds.verdicts(report.rows)], report.origin.config)


def as_json(report: Report) -> str:
    return markdown.as_json(asdict(report) | {"rows": bounds.as_fields(report.rows)})
