"""Figures in, verdicts and a report out. Nothing here measures anything."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from loadtest.markdown import document, table
from loadtest.origin import Origin

HEAD = ("what", "measured", "bound", "", "how")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, and what it may be."""

    what: str
    value: float
    unit: str = ""  # "%": the value is a share, 0.05 is 5 %
    most: float | None = None  # the bound: no more than
    least: float | None = None  # or no less than
    note: str = ""  # what the figure is made of
    digits: int = 0  # after the point

    @property
    def ok(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )


@dataclass(frozen=True, slots=True)
class Report:
    origin: Origin
    engines: tuple[str, ...]
    seconds: float  # the whole took
    rows: tuple[Row, ...]

    @property
    def missed(self) -> list[Row]:
        return [row for row in self.rows if row.ok is False]


def shown(value: float, row: Row) -> str:
    if row.unit == "%":
        return f"{100 * value:.{row.digits}f} %"
    return f"{value:.{row.digits}f} {row.unit}".strip()


def cells(row: Row) -> tuple[str, ...]:
    bounds = {"at most": row.most, "at least": row.least}
    bound = ", ".join(f"{name} {shown(limit, row)}" for name, limit in bounds.items() if limit is not None)
    verdict = {True: "ok", False: "MISSED", None: ""}[row.ok]
    return (row.what, shown(row.value, row), bound, verdict, row.note)


def as_text(rows: Sequence[Row]) -> str:
    """A table for a terminal."""
    lines = [HEAD, *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_markdown(report: Report) -> str:
    facts = report.origin.facts | {
        "Took": f"{report.seconds / 60:.0f} minutes",
        "Engines": ", ".join(report.engines),
        "Bounds missed": ", ".join(row.what for row in report.missed) or "none",
    }
    verdicts = table([HEAD, *(cells(row) for row in report.rows)])
    return document("Quality", facts, [verdicts], report.origin.config)


def as_json(report: Report) -> str:
    rows = [asdict(row) | {"ok": row.ok} for row in report.rows]
    return json.dumps(asdict(report) | {"rows": rows}, indent=1, ensure_ascii=False) + "\n"
