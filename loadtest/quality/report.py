"""Figures in, verdicts and a report out. Nothing here measures anything."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.machine import Machine

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
    taken: str  # ISO 8601, UTC
    commit: str
    command: str
    machine: Machine
    config: dict[str, Any]  # the config file, as it is
    environment: dict[str, str]  # what overrides it
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
    table = [HEAD, *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )


def as_markdown(report: Report) -> str:
    m = report.machine
    facts = {
        "Machine": f"{m.cpu}, {m.cores} cores, {m.memory_gb} GiB; GPU: {m.gpu or 'none'}",
        "Commit": report.commit,
        "Taken": f"{report.taken}, in {report.seconds / 60:.0f} minutes",
        "Engines": ", ".join(report.engines),
        "Overrides": ", ".join(f"{k}={v}" for k, v in report.environment.items()) or "none",
        "Command": f"`{report.command}`",
        "Bounds missed": ", ".join(row.what for row in report.missed) or "none",
    }
    lines = ["# Quality", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += [
        f"| {' | '.join(line)} |" for line in (HEAD, ("---",) * len(HEAD), *(cells(r) for r in report.rows))
    ]
    return "\n".join([*lines, "", "```json", json.dumps(report.config, ensure_ascii=False), "```"]) + "\n"


def as_json(report: Report) -> str:
    rows = [asdict(row) | {"ok": row.ok} for row in report.rows]
    return json.dumps(asdict(report) | {"rows": rows}, indent=1, ensure_ascii=False) + "\n"
