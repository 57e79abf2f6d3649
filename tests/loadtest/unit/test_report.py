"""The load test's arithmetic, and the report it makes."""

import random
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from loadtest.compare import comparison
from loadtest.origin import Machine, Origin, configured
from loadtest.page import as_html
from loadtest.plot import doubling, linear
from loadtest.report import (
    Line,
    Report,
    Setting,
    against,
    as_json,
    last_like,
    line_of,
    load,
    percentile,
    report_of,
)
from loadtest.samples import Ledger, Outcome, Run, Sample, Window
from loadtest.table import as_markdown, tables

WINDOW = Window("4", 4, 10.0, 20.0, client_cpu=0.1)
NOW = "2026-01-02T03:04:05+00:00"


def sample(
    started: float, latency_s: float, outcome: Outcome = "ok", told_to_wait_s: float | None = None
) -> Sample:
    detail = "" if outcome in ("ok", "refused") else f"{outcome} <b>&"
    told = {"queue_s": latency_s / 2, "batch_windows": 4.0, "batch_s": 20.0}
    return Sample(started, latency_s, outcome, "a.flac", 5.0, detail, told_to_wait_s, **told)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101, 1000])
@pytest.mark.parametrize("q", [0, 1, 50, 90, 95, 99, 99.9, 100])
def test_percentiles_are_numpys(count: int, q: float) -> None:
    values = [random.Random(count).lognormvariate(0, 2) for _ in range(count)]
    assert percentile(values, q) == pytest.approx(float(np.percentile(values, q)), rel=1e-12)


def test_latency_counts_requests_that_began_in_the_window_however_late_they_ended() -> None:
    slow = [sample(19.9, 60.0), sample(9.9, 100.0), sample(20.0, 100.0)]
    line = line_of(WINDOW, [sample(10.0, 1.0), *slow])
    assert (line.requests, line.avg_s, line.max_s) == (2, 30.5, 60.0)


def test_throughput_counts_answers_that_ended_in_the_window() -> None:
    line = line_of(
        WINDOW, [sample(5.0, 6.0), sample(12.0, 1.0), sample(19.0, 2.0), sample(13.0, 1.0, "wrong")]
    )
    assert (line.answers_per_s, line.audio_per_s) == (0.2, 1.0)


def test_refusals_are_apart_from_errors_and_their_waits_are_told() -> None:
    samples = [sample(11.0, 1.0), sample(12.0, 0.1, "refused", 4.0), sample(13.0, 0.1, "refused", 8.0)]
    samples += [sample(14.0, 9.0, "error"), sample(15.0, 9.0, "wrong"), sample(16.0, 1.0)]
    line = line_of(WINDOW, samples)
    assert (line.refused, line.refused_after_s, line.told_to_wait_s) == (2, 0.1, 6.0)
    assert (line.errors, line.wrong, line.error_rate) == (1, 1, 0.5)
    assert (line.avg_s, line.queue_s) == (1.0, 0.5)


def test_a_window_without_a_right_answer_has_no_latency_rather_than_zero() -> None:
    line = line_of(WINDOW, [sample(11.0, 1.0, "error")])
    assert (line.avg_s, line.p95_s, line.error_rate) == (None, None, 1.0)


def test_a_pass_counts_once_however_many_windows_tell_of_it() -> None:
    alone = [replace(sample(11.0, 1.0), batch_windows=1.0, batch_s=5.0)] * 3
    line = line_of(WINDOW, [*alone, *([sample(12.0, 1.0)] * 4)])
    assert (line.batch_windows, line.batch_most, line.batch_s) == pytest.approx((7 / 4, 4, 35 / 4))


def test_a_service_that_does_not_tell_its_batches_has_none() -> None:
    line = line_of(WINDOW, [replace(sample(11.0, 1.0), batch_windows=None)])
    assert (line.batch_windows, line.batch_most, line.batch_s) == (None, None, None)


@pytest.mark.parametrize(
    ("cpu", "lag_s", "doubted"), [(0.5, 0.05, False), (0.9, 0.05, True), (0.5, 0.2, True)]
)
def test_a_client_that_was_too_busy_to_measure_is_named(cpu: float, lag_s: float, doubted: bool) -> None:
    line = line_of(replace(WINDOW, client_cpu=cpu, client_lag_s=lag_s), [sample(11.0, 1.0)])
    judged = replace(report(), lines=(line,))
    assert bool(judged.doubts) == doubted
    assert ("client's own: at 4 it used" in as_markdown(judged)) == doubted


def test_requests_without_an_answer_are_seen_until_they_are_closed() -> None:
    ledger = Ledger(clock=iter([0.0]).__next__)
    ticket = ledger.send(started=3.0)
    assert ledger.still_out(before=3.5)
    assert not ledger.still_out(before=3.0)
    ledger.close(ticket)
    assert not ledger.still_out(before=3.5)


def report(taken: str = NOW, slower: float = 1.0, model: str = "tiny.en", count: int = 40) -> Report:
    windows = tuple(Window(str(n), n, n * 100.0, n * 100.0 + 10, 0.2) for n in (4, 8, 16))
    samples = [
        sample(w.start + i / 5, slower * w.load * (1 + i / count) / 4) for w in windows for i in range(count)
    ]
    samples.append(sample(windows[0].start, 1.0, "wrong"))
    run = Run(windows, tuple(samples), rest_s=0.2, left_out=("hard.flac",))
    setting = Setting("transcribe", "ladder", "mixed", "0a1b2c3d")
    return report_of(run, origin(taken), setting, model)


def origin(taken: str = NOW, **environment: str) -> Origin:
    made = ("abc1234", "python -m loadtest", Machine("A CPU", 2, 24, ""))
    return Origin(taken, *made, {"model": {"size": "tiny"}}, environment)


def test_a_report_read_back_is_the_report_that_was_written(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(as_json(report()))
    assert load(tmp_path / "a.json") == report()


def test_change_is_against_the_newest_report_of_the_same_kind(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(as_json(report("2026-01-01T00:00:00+00:00", slower=4.0)))
    (tmp_path / "last.json").write_text(as_json(report("2026-01-01T01:00:00+00:00", slower=2.0)))
    (tmp_path / "other.json").write_text(as_json(report("2026-01-01T02:00:00+00:00", model="base")))
    (tmp_path / "none.json").write_text("{}")
    now = against(report(), last_like(report(), tmp_path))
    assert now.before == "2026-01-01T01:00:00+00:00"
    assert [line.change for line in now.lines] == pytest.approx([-0.5, -0.5, -0.5])


def test_the_first_report_has_no_change(tmp_path: Path) -> None:
    assert against(report(), last_like(report(), tmp_path)).lines[0].change is None


def test_the_table_starts_with_the_columns_it_is_known_by() -> None:
    head, first, *_ = next(iter(tables(report()).values()))
    assert head[:5] == ["Concurrency", "Avg latency (s)", "P95 (s)", "Error rate", "% change"]
    assert first[0] == "4"
    assert first[3] == f"{1 / 41:.1%}"
    assert "First words P50 (s)" not in head


def test_markdown_has_a_row_for_every_load_and_says_with_what_it_was_made() -> None:
    text = as_markdown(report())
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 * (2 + 3)
    assert len({row.count("|") for row in rows}) == 2
    for fact in ("tiny.en", "A CPU, 2 cores, 24 GiB", "abc1234", "hard.flac", "0.20 s a request"):
        assert fact in text


class Tags(HTMLParser):
    """Fails on a tag closed out of turn; keeps what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.refers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.refers += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page() -> Tags:
    tags = Tags()
    tags.feed(as_html(report()))
    return tags


def test_the_page_is_well_formed_and_has_two_tables_and_eight_plots(page: Tags) -> None:
    assert page.open == []
    assert page.seen.count("tr") == 2 * 4
    assert page.seen.count("svg") == 8


def test_the_page_needs_nothing_from_elsewhere(page: Tags) -> None:
    assert page.refers == []
    assert not {"script", "link", "img", "iframe"} & set(page.seen)
    assert "url(" not in as_html(report())


def test_what_a_service_said_cannot_become_markup() -> None:
    assert "<b>" not in as_html(report())
    assert "wrong &lt;b&gt;&amp;" in as_html(report())


def test_a_report_of_failures_alone_still_renders() -> None:
    run = Run((WINDOW,), (sample(11.0, 1.0, "error"),), 0.1, ())
    broken = report_of(run, origin(), report().setting, "base")
    assert "nothing was measured" in as_html(broken)
    assert broken.failed == 1
    assert "100.0%" in as_markdown(broken)


@pytest.mark.parametrize("values", [[0.0], [0.003], [1.0], [7.3, 2.0], [38.27], [1000.0, 1.0]])
def test_an_upright_axis_reaches_above_every_value_in_few_steps(values: list[float]) -> None:
    axis = linear(values)
    assert axis.high >= max(values)
    assert 2 <= len(axis.ticks) <= 8
    assert axis.place(axis.high) == 1


def test_every_doubling_takes_the_same_room() -> None:
    axis = doubling([4, 8, 16])
    assert [axis.place(v) for v in (4, 8, 16)] == pytest.approx([0, 0.5, 1])


def test_a_comparison_shows_both_and_warns_where_they_are_not_alike() -> None:
    text = comparison(report(), report(slower=2.0))
    assert text.count("+100.0%") == 2 * 3
    assert "Not like for like" not in text
    assert "Not like for like" in comparison(report(), report(model="base"))


def test_loads_that_only_one_report_has_are_not_compared() -> None:
    short = replace(report(), lines=report().lines[:1])
    assert len(comparison(report(), short).splitlines()) == 3


def test_secrets_and_the_port_stay_out_of_a_report(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"server": {"port": 1}, "security": {"api_keys": ["s3cret"]}}')
    environ = {"WHISPER_SERVE__SECURITY__API_KEYS": "s3cret", "WHISPER_SERVE__SERVER__PORT": "2", "HOME": "/"}
    environ["WHISPER_SERVE__MODEL__SIZE"] = "base"
    config, over = configured(file, environ)
    assert "s3cret" not in f"{config}{over}"
    assert set(over) == {"WHISPER_SERVE__SECURITY__API_KEYS", "WHISPER_SERVE__MODEL__SIZE"}
    assert (origin().model, origin(**over).model) == ("tiny", "base")


def test_every_column_can_be_shown_for_a_line_without_answers() -> None:
    line: Line = line_of(WINDOW, [])
    assert replace(report(), lines=(line,)).failed == 0
    seen, told = tables(replace(report(), lines=(line,))).values()
    assert seen[1][1] == "-"
    assert told[0] == ["Concurrency", "Client CPU", "Client lag (s)"]
