"""The bench's plot; not among the unit tests, because matplotlib takes a second to load and to draw."""

from dataclasses import replace
from pathlib import Path

from matplotlib.image import imread

from loadtest.bench.plots import draw
from tests.support.bench_report import report


def test_the_plot_is_a_picture_with_or_without_lines(tmp_path: Path) -> None:
    for made in (report(), replace(report(), lines=(), rows=())):
        draw(made, tmp_path / "bench.png")
        assert imread(tmp_path / "bench.png").shape[:2] == (990, 1430)
