"""Two reports in, a table of what changed out: `python -m loadtest.compare A.json B.json`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from loadtest.report import Line, Report, change, like, load
from loadtest.table import markdown_row, percent, seconds

FIGURES: dict[str, tuple[Callable[[Line], float | None], Callable[[float | None], str]]] = {
    "Avg latency (s)": (lambda line: line.avg_s, seconds),
    "P95 (s)": (lambda line: line.p95_s, seconds),
    "Requests/s": (lambda line: line.answers_per_s, seconds),
    "Error rate": (lambda line: line.error_rate, lambda value: f"{value or 0:.1%}"),
}


def comparison(a: Report, b: Report) -> str:
    """A Markdown table: each figure in A, in B, and how much more B has, for the loads both have."""
    head = [a.load_name, *(text for name in FIGURES for text in (f"{name} A", "B", "change"))]
    lines = [markdown_row(head), markdown_row(["---:"] * len(head))]
    later = {line.label: line for line in b.lines}
    for line in a.lines:
        if line.label in later:
            lines.append(markdown_row([line.label, *_pairs(line, later[line.label])]))
    if not like(a, b):
        lines += ["", "Not like for like: the hardware or the configuration differs."]
    return "\n".join(lines)


def _pairs(a: Line, b: Line) -> list[str]:
    texts = []
    for figure, show in FIGURES.values():
        texts += [show(figure(a)), show(figure(b)), percent(change(figure(a), figure(b)))]
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.compare", description=__doc__)
    parser.add_argument("a", type=Path, help="the earlier report, JSON")
    parser.add_argument("b", type=Path, help="the later one")
    args = parser.parse_args()
    print(comparison(load(args.a), load(args.b)))


if __name__ == "__main__":
    main()
