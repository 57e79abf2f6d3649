"""Comparison of two reports, figure by figure. `python -m loadtest.compare A.json B.json`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.common import command
from loadtest.common.errors import CannotRun
from loadtest.common.markdown import table
from loadtest.load.report import Line, Report, change, like, load
from loadtest.load.table import percent, seconds

FIGURES: dict[str, tuple[Callable[[Line], float | None], Callable[[float | None], str]]] = {
    "Avg latency (s)": (lambda line: line.avg_s, seconds),
    "P95 (s)": (lambda line: line.p95_s, seconds),
    "Requests/s": (lambda line: line.answers_per_s, seconds),
    "Error rate": (lambda line: line.error_rate, lambda value: f"{value or 0:.1%}"),
}


def comparison(a: Report, b: Report) -> str:
    """A Markdown table: each figure in A, in B, and how much more B has, for the loads both have."""
    head = [a.load_name, *(text for name in FIGURES for text in (f"{name} A", "B", "change"))]
    later = {line.label: line for line in b.lines}
    rows = [[line.label, *_pairs(line, later[line.label])] for line in a.lines if line.label in later]
    lines = table([head, *rows], "---:")
    if not like(a, b):
        lines += ["", "Not like for like: the hardware or the configuration differs."]
    return "\n".join(lines)


def _pairs(a: Line, b: Line) -> list[str]:
    texts = []
    for figure, show in FIGURES.values():
        texts += [show(figure(a)), show(figure(b)), percent(change(figure(a), figure(b)))]
    return texts


def main(argv: Sequence[str]) -> int:
    parser = command.parser("loadtest.compare", "Two reports of a load test side by side.")
    parser.add_argument("a", type=Path, help="the earlier report, JSON")
    parser.add_argument("b", type=Path, help="the later one")
    args = parser.parse_args(argv)
    try:
        print(comparison(load(args.a), load(args.b)))
    except (OSError, ValueError) as e:
        raise CannotRun(f"not two reports of a load test: {e}") from e
    return 0
