"""The load test's page, looked at by a real browser: what it draws, where, and that nothing is fetched for it."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from loadtest.__main__ import main
from loadtest.plot import COLOURS
from tests.support.fake_service import Fake, serving, write_clips

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTH, HEIGHT = 1280, 2400
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb")
PROBE = """<script>
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
const found = {
  wide: document.documentElement.scrollWidth,
  fetched: performance.getEntriesByType("resource").map(e => e.name),
  tables: [...document.querySelectorAll("table")].map(t => [t.rows.length, ...box(t)]),
  plots: [...document.querySelectorAll("svg")].map(s => ({
    name: s.getAttribute("aria-label"),
    box: box(s),
    lines: s.querySelectorAll("polyline").length,
    words: [...s.querySelectorAll("text")].map(t => [t.textContent, ...box(t)]),
    dots: [...s.querySelectorAll("circle")].map(box),
  })),
};
const pre = document.createElement("pre");
pre.id = "probe";
pre.textContent = JSON.stringify(found);
document.body.append(pre);
</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser to look with: apt-get install chromium")

Box = Sequence[float]  # left, top, right, bottom


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make load` writes."""
    folder = tmp_path_factory.mktemp("load")
    write_clips(folder)
    fake = Fake(workers=2, latency_s=0.05, mishap=lambda number: "refused" if number % 9 == 8 else "")
    options = ["--clips", str(folder), "--out", str(folder), "--name", "load", "--warmup", "0.3"]
    with serving(fake) as url:
        assert main(["--url", url, "--ladder", "2,4,8,16", "--seconds", "1", *options]) == 0
    return folder / "load.html"


def browse(page: Path, *options: str, width: int = WIDTH) -> str:
    assert BROWSER
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [BROWSER, *QUIET, profile, f"--window-size={width},{HEIGHT}", *options, page.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def probed(page: Path, width: int = WIDTH) -> dict[str, Any]:
    """What the browser made of it, by a script that only this copy has."""
    copy = page.with_name("probed.html")
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    shown = browse(copy, "--dump-dom", width=width)
    told: dict[str, Any] = json.loads(unescape(shown.partition('<pre id="probe">')[2].partition("</pre>")[0]))
    return told


def inside(inner: Box, outer: Box) -> bool:
    starts = inner[0] >= outer[0] - 1 and inner[1] >= outer[1] - 1
    return starts and inner[2] <= outer[2] + 1 and inner[3] <= outer[3] + 1


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_both_tables_fit_a_desktop_and_have_a_row_for_every_load(page: Path) -> None:
    tables = probed(page)["tables"]
    assert [rows for rows, *_ in tables] == [5, 5]
    assert all(inside(box, (0, 0, WIDTH, HEIGHT)) for _, *box in tables)


def test_every_plot_is_drawn_in_its_place_without_one_word_upon_another(page: Path) -> None:
    plots = probed(page)["plots"]
    assert len(plots) == 8
    assert {"Latency", "Latency over time", "Throughput", "Batch sizes"} < {plot["name"] for plot in plots}
    for plot in plots:
        words = [box for _, *box in plot["words"]]
        assert plot["lines"] >= 1, plot["name"]
        assert plot["box"][2] - plot["box"][0] > 400
        assert all(inside(box, plot["box"]) for box in [*words, *plot["dots"]]), plot["name"]
        pairs = [(a, b) for i, a in enumerate(plot["words"]) for b in plot["words"][i + 1 :]]
        assert [(a[0], b[0]) for a, b in pairs if overlap(a[1:], b[1:])] == [], plot["name"]


@pytest.mark.parametrize("width", [WIDTH, 500])
def test_the_page_is_no_wider_than_the_window(page: Path, width: int) -> None:
    assert probed(page, width)["wide"] <= width


def test_nothing_is_fetched_for_the_page(page: Path) -> None:
    assert probed(page)["fetched"] == []


def test_the_lines_can_be_seen(page: Path) -> None:
    picture = page.with_suffix(".png")
    browse(page, f"--screenshot={picture}")
    pixels = (imread(picture)[..., :3] * 255).round().astype(int)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    for colour in COLOURS[:3]:
        drawn = (pixels == list(bytes.fromhex(colour[1:]))).all(axis=-1)
        assert drawn.sum() > 100, colour
