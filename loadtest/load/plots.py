"""SVG plots of series of points, by matplotlib, to stand inside an HTML page; no script, no font, no address.

Words and axes take the page's own colour, so that they can be read on light and on dark.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]

SIZE = (7.2, 3.4)  # inches of 72 units
STYLE = Path(__file__).with_name("plots.mplstyle")
INK, GRID = "#010203", "#888888"  # of STYLE; the ink becomes the page's colour
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # it would name addresses


@dataclass(frozen=True, slots=True)
class Plot:
    """A line a series."""

    title: str
    x_name: str
    y_name: str
    series: Mapping[str, Points]  # at most four
    doubling: bool = False  # across, every doubling takes the same room, and the values are the ticks
    marks: Sequence[tuple[float, str]] = ()  # places across, each with a word, where something begins


def drawing(plot: Plot) -> str:
    """An SVG element; a text instead where there is no point at all."""
    series = {name: points for name, points in plot.series.items() if points}
    if not series:
        return f"<p>{escape(plot.title)}: nothing was measured.</p>"
    with mpl.rc_context(fname=STYLE):  # words stay words; equal parts of two plots have equal names
        return _as_svg(_figure(plot, series), plot.title)


def _figure(plot: Plot, series: Mapping[str, Points]) -> Figure:
    figure = Figure(SIZE, layout="constrained")
    axes = figure.subplots()
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
    for place, word in plot.marks:
        axes.axvline(place, color=GRID, linestyle=":", linewidth=1)
        axes.text(place, 1, f" {word}", transform=axes.get_xaxis_transform(), fontsize=8, va="top")
    if plot.doubling:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({x for points in series.values() for x, _ in points}), minor=False)
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.set_xlabel(plot.x_name)
    axes.set_title(f"{plot.title}, {plot.y_name}")
    if len(series) > 1:  # else the title names it
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series))
    return figure


def _as_svg(figure: Figure, title: str) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=NO_METADATA)
    text = file.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)  # matplotlib counts its parts; none refers to these
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
