"""The load test's page: its markup, and in a real browser what it draws, where, and that it fetches nothing."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from loadtest.load.page import as_html
from loadtest.load.report import report_of
from loadtest.load.run import main
from loadtest.load.samples import Run
from loadtest.load.table import as_markdown
from tests.support.fake_service import Fake, serving, write_clips
from tests.support.load_report import WINDOW, origin, report, sample

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
    lines: s.querySelectorAll("path[style*='stroke-width: 1.5']").length,
    words: [...s.querySelectorAll("text")].map(t => [t.textContent, ...box(t)]),
    dots: [...s.querySelectorAll("use:not([style*=currentColor])")].map(box),
    ink: getComputedStyle(s.querySelector("text")).fill,
  })),
};
const pre = document.createElement("pre");
pre.id = "probe";
pre.textContent = JSON.stringify(found);
document.body.append(pre);
</script>"""

in_browser = pytest.mark.skipif(BROWSER is None, reason="no browser: apt-get install chromium")

NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
COLOURS = ("#2f6fde", "#d9822b", "#3a9d5d")
DARK = ("--blink-settings=preferredColorScheme=0",)

Box = Sequence[float]  # left, top, right, bottom


class Tags(HTMLParser):
    """Fails on a tag closed out of turn; keeps what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.refers: list[str] = []
        self.ids: set[str | None] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.refers += [
            value or "" for name, value in attrs if name.endswith(("src", "href", "srcset", "data"))
        ]
        self.ids |= {value for name, value in attrs if name == "id"}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    return tags


def test_the_page_is_well_formed_and_has_two_tables_and_eight_plots() -> None:
    tags = parsed(as_html(report()))
    assert tags.open == []
    assert tags.seen.count("tr") == 2 * 4
    assert tags.seen.count("svg") == 8


def test_the_page_needs_nothing_from_elsewhere() -> None:
    tags, text = parsed(as_html(report())), as_html(report())
    places = [*tags.refers, *re.findall(r"url\((.*?)\)", text)]
    assert {place[1:] for place in places if place.startswith("#")} <= tags.ids
    assert all(place.startswith("#") for place in places)
    assert not {"script", "link", "img", "iframe"} & set(tags.seen)
    assert set(re.findall(r"https?://[^\s\"<]+", text)) <= NAMESPACES


def test_what_a_service_answered_cannot_become_markup() -> None:
    assert "<b>" not in as_html(report())
    assert "wrong &lt;b&gt;&amp;" in as_html(report())


def test_a_report_of_failures_alone_still_renders() -> None:
    run = Run((WINDOW,), (sample(11.0, 1.0, "error"),), 0.1, ())
    broken = report_of(run, origin(), report().setting, "base")
    assert "nothing was measured" in as_html(broken)
    assert broken.failed == 1
    assert "100.0%" in as_markdown(broken)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make load` writes."""
    folder = tmp_path_factory.mktemp("load")
    write_clips(folder)
    fake = Fake(workers=2, latency_s=0.05, fault=lambda number: "refused" if number % 9 == 8 else "")
    options = ["--clips", str(folder), "--out", str(folder), "--name", "load", "--warmup", "0.3"]
    with serving(fake) as url:
        assert main(["--url", url, "--ladder", "2,4,8,16", "--seconds", "1", *options]) == 0
    return folder / "load.html"


def browse(page: Path, *options: str, width: int = WIDTH) -> str:
    assert BROWSER
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [BROWSER, *QUIET, profile, f"--window-size={width},{HEIGHT}", *options, page.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def probed(page: Path, *options: str, width: int = WIDTH) -> dict[str, Any]:
    """What the browser made of it, by a script that only this copy has."""
    copy = page.with_name("probed.html")
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    shown = browse(copy, "--dump-dom", *options, width=width)
    found: dict[str, Any] = json.loads(
        unescape(shown.partition('<pre id="probe">')[2].partition("</pre>")[0])
    )
    return found


def inside(inner: Box, outer: Box) -> bool:
    starts = inner[0] >= outer[0] - 1 and inner[1] >= outer[1] - 1
    return starts and inner[2] <= outer[2] + 1 and inner[3] <= outer[3] + 1


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@in_browser
def test_both_tables_fit_a_desktop_and_have_a_row_for_every_load(page: Path) -> None:
    tables = probed(page)["tables"]
    assert [rows for rows, *_ in tables] == [5, 5]
    assert all(inside(box, (0, 0, WIDTH, HEIGHT)) for _, *box in tables)


@in_browser
def test_every_plot_is_drawn_in_its_place_without_one_word_upon_another(page: Path) -> None:
    plots = probed(page)["plots"]
    assert len(plots) == 8
    assert {"Latency", "Latency over time", "Throughput", "Batch sizes"} < {plot["name"] for plot in plots}
    for plot in plots:
        words = [box for _, *box in plot["words"]]
        assert plot["lines"] >= 1, plot["name"]
        assert plot["box"][2] - plot["box"][0] > 400
        assert all(right - left > 3 for left, _, right, _ in plot["dots"]), plot["name"]
        assert all(inside(box, plot["box"]) for box in [*words, *plot["dots"]]), plot["name"]
        pairs = [(a, b) for i, a in enumerate(plot["words"]) for b in plot["words"][i + 1 :]]
        assert [(a[0], b[0]) for a, b in pairs if overlap(a[1:], b[1:])] == [], plot["name"]


@in_browser
@pytest.mark.parametrize("width", [WIDTH, 500])
def test_the_page_is_no_wider_than_the_window(page: Path, width: int) -> None:
    assert probed(page, width=width)["wide"] <= width


@in_browser
def test_the_words_of_the_plots_are_dark_on_light_and_light_on_dark(page: Path) -> None:
    inks = [{plot["ink"] for plot in probed(page, *options)["plots"]} for options in ((), DARK)]
    assert inks == [{"rgb(0, 0, 0)"}, {"rgb(255, 255, 255)"}]


@in_browser
def test_nothing_is_fetched_for_the_page(page: Path) -> None:
    assert probed(page)["fetched"] == []


@in_browser
def test_the_lines_can_be_seen(page: Path) -> None:
    picture = page.with_suffix(".png")
    browse(page, f"--screenshot={picture}")
    pixels = (imread(picture)[..., :3] * 255).round().astype(int)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    for colour in COLOURS:
        drawn = (pixels == list(bytes.fromhex(colour[1:]))).all(axis=-1)
        assert drawn.sum() > 100, colour
