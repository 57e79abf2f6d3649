"""Series of points in, one SVG drawing out, to stand inside an HTML page; no script, no font, no address."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 62, 46
TITLE_AT, LEGEND_AT = 18, 42  # pixels from the top
LETTER = 7.2  # pixels a letter of the legend takes, about
COLOURS = ("#2f6fde", "#d9822b", "#3a9d5d", "#b5407a")


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a drawing: values in, pixels out."""

    low: float
    high: float
    ticks: tuple[float, ...]
    place: Callable[[float], float]  # value -> share of the axis


def linear(values: Sequence[float]) -> Axis:
    """From 0 to a round number above the largest value."""
    top = max(values, default=0.0) or 1.0
    step = 10 ** math.floor(math.log10(top))
    step = next(s for s in (step / 5, step / 2, step, step * 2) if top / s <= 6)
    count = math.ceil(top / step - 1e-9)
    high = count * step
    return Axis(0.0, high, tuple(i * step for i in range(count + 1)), lambda v: v / high)


def doubling(values: Sequence[float]) -> Axis:
    """Every doubling takes the same room; the values themselves are the ticks."""
    low, high = min(values), max(values)
    span = math.log2(high / low) or 1.0
    return Axis(low, high, tuple(sorted(set(values))), lambda v: math.log2(v / low) / span)


@dataclass(frozen=True, slots=True)
class Plot:
    """What is drawn: a line a series."""

    title: str
    x_name: str
    y_name: str
    series: Mapping[str, Points]  # at most as many as COLOURS
    scale: Callable[[Sequence[float]], Axis]  # across: `linear`, or `doubling` for values above 0
    marks: Sequence[tuple[float, str]] = ()  # places across, each with a word, where something begins


def drawing(plot: Plot) -> str:
    """An SVG element; a text instead where there is no point at all."""
    drawn = {name: points for name, points in plot.series.items() if points}
    if not drawn:
        return f"<p>{escape(plot.title)}: nothing was measured.</p>"
    marked = [place for place, _ in plot.marks]
    x = plot.scale([p[0] for points in drawn.values() for p in points] + marked)
    y = linear([p[1] for points in drawn.values() for p in points])
    lines = [_line(COLOURS[i], name, points, x, y) for i, (name, points) in enumerate(drawn.items())]
    names = _words(WIDTH / 2, HEIGHT - 8, plot.x_name, "middle")
    names += _words(6, TITLE_AT, f"{plot.title}, {plot.y_name}", "start", "t")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(plot.title)}">'
        f"{_grid(x, y)}{_marks(plot.marks, x, y)}{''.join(lines)}{_legend(list(drawn))}{names}</svg>"
    )


def _at(x: Axis, y: Axis, point: tuple[float, float]) -> tuple[float, float]:
    across = LEFT + x.place(point[0]) * (WIDTH - LEFT - RIGHT)
    return round(across, 1), round(HEIGHT - BOTTOM - y.place(point[1]) * (HEIGHT - TOP - BOTTOM), 1)


def _grid(x: Axis, y: Axis) -> str:
    parts = []
    for tick in y.ticks:
        _, down = _at(x, y, (x.low, tick))
        parts.append(f'<line class="g" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down}" y2="{down}"/>')
        parts.append(_words(LEFT - 8, down + 4, f"{tick:g}", "end"))
    for tick in x.ticks:
        across, down = _at(x, y, (tick, 0.0))
        parts.append(f'<line class="g" x1="{across}" x2="{across}" y1="{down}" y2="{down + 5}"/>')
        parts.append(_words(across, down + 18, f"{tick:g}", "middle"))
    return "".join(parts)


def _marks(marks: Sequence[tuple[float, str]], x: Axis, y: Axis) -> str:
    parts = []
    for place, word in marks:
        across, foot = _at(x, y, (place, 0.0))
        parts.append(f'<line class="m" x1="{across}" x2="{across}" y1="{TOP}" y2="{foot}"/>')
        parts.append(_words(across + 3, TOP + 10, word, "start", "m"))
    return "".join(parts)


def _line(colour: str, name: str, points: Points, x: Axis, y: Axis) -> str:
    places = [_at(x, y, point) for point in points]
    path = " ".join(f"{across},{down}" for across, down in places)
    dots = "".join(
        f'<circle cx="{across}" cy="{down}" r="3" fill="{colour}">'
        f"<title>{escape(name)} at {point[0]:g}: {point[1]:.3g}</title></circle>"
        for (across, down), point in zip(places, points, strict=True)
    )
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'


def _legend(names: Sequence[str]) -> str:
    """Each name behind a spot of its colour; nothing where there is one series, which the title names."""
    parts, across = [], float(LEFT)
    for colour, name in zip(COLOURS, names, strict=False):
        parts.append(f'<circle cx="{across + 5:g}" cy="{LEGEND_AT - 4}" r="5" fill="{colour}"/>')
        parts.append(_words(across + 15, LEGEND_AT, name, "start"))
        across += 15 + LETTER * len(name) + 18
    return "".join(parts) if len(names) > 1 else ""


def _words(across: float, down: float, text: str, anchor: str, kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f'<text x="{across:g}" y="{down:g}" text-anchor="{anchor}"{mark}>{escape(text)}</text>'
