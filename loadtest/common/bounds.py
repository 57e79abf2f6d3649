"""Figures and the bounds they must keep, as rows of a table."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.common.markdown import table


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
        low, high = (
            self.least is None or self.value >= self.least,
            self.most is None or self.value <= self.most,
        )
        return low and high

    def shown(self, value: float) -> str:
        if self.unit == "%":
            return f"{100 * value:.{self.digits}f} %"
        return f"{value:.{self.digits}f} {self.unit}".strip()

    def cells(self) -> tuple[str, ...]:
        bounds = {"at most": self.most, "at least": self.least}
        bound = ", ".join(f"{name} {self.shown(b)}" for name, b in bounds.items() if b is not None)
        verdict = {True: "ok", False: "MISSED", None: ""}[self.ok]
        return (self.what, self.shown(self.value), bound, verdict, self.note)


def missed(rows: Iterable[Row]) -> list[str]:
    """The names of the figures whose bound is not kept."""
    return [row.what for row in rows if row.ok is False]


def verdicts(rows: Iterable[Row]) -> list[str]:
    """A Markdown table."""
    return table([("what", "measured", "bound", "", "how"), *(row.cells() for row in rows)])


def as_fields(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """For JSON: each row's fields and its verdict."""
    return [asdict(row) | {"ok": row.ok} for row in rows]
