"""The load test's arithmetic, and the report it makes."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.common import RESULTS
from loadtest.common.provenance import configured
from loadtest.load.compare import comparison
from loadtest.load.report import Line, against, as_json, last_like, line_of, load
from loadtest.load.samples import Ledger
from loadtest.load.table import as_markdown, tables
from tests.support.load_report import WINDOW, origin, report, sample


def test_latency_counts_requests_that_began_in_the_window_however_late_they_ended() -> None:
    slow = [sample(19.9, 60.0), sample(9.9, 100.0), sample(20.0, 100.0)]
    line = line_of(WINDOW, [sample(10.0, 1.0), *slow])
    assert (line.requests, line.avg_s, line.max_s) == (2, 30.5, 60.0)


def test_throughput_counts_answers_that_ended_in_the_window() -> None:
    line = line_of(
        WINDOW, [sample(5.0, 6.0), sample(12.0, 1.0), sample(19.0, 2.0), sample(13.0, 1.0, "wrong")]
    )
    assert (line.answers_per_s, line.audio_per_s) == (0.2, 1.0)


def test_refusals_are_apart_from_errors_and_their_retry_after_is_averaged() -> None:
    samples = [sample(11.0, 1.0), sample(12.0, 0.1, "refused", 4.0), sample(13.0, 0.1, "refused", 8.0)]
    samples += [sample(14.0, 9.0, "error"), sample(15.0, 9.0, "wrong"), sample(16.0, 1.0)]
    line = line_of(WINDOW, samples)
    assert (line.refused, line.refused_after_s, line.retry_after_s) == (2, 0.1, 6.0)
    assert (line.errors, line.wrong, line.error_rate) == (1, 1, 0.5)
    assert (line.avg_s, line.queue_s) == (1.0, 0.5)


def test_a_window_without_a_right_answer_has_no_latency_rather_than_zero() -> None:
    line = line_of(WINDOW, [sample(11.0, 1.0, "error")])
    assert (line.avg_s, line.p95_s, line.error_rate) == (None, None, 1.0)


def test_a_batch_counts_once_however_many_windows_report_it() -> None:
    alone = [replace(sample(11.0, 1.0), batch_windows=1.0, batch_s=5.0)] * 3
    line = line_of(WINDOW, [*alone, *([sample(12.0, 1.0)] * 4)])
    assert (line.batch_windows, line.batch_most, line.batch_s) == pytest.approx((7 / 4, 4, 35 / 4))


def test_a_service_that_does_not_report_its_batches_has_none() -> None:
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


def test_a_request_is_open_until_its_answer() -> None:
    ledger = Ledger()
    with ledger.request(started=3.0):
        assert ledger.still_open(before=3.5)
        assert not ledger.still_open(before=3.0)
    assert not ledger.still_open(before=3.5)


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
    callers, service = tables(replace(report(), lines=(line,))).values()
    assert callers[1][1] == "-"
    assert service[0] == ["Concurrency", "Client CPU", "Client lag (s)"]


@pytest.mark.parametrize("name", ["load-base", "load-tiny.en", "soak"])
def test_the_reports_that_are_kept_can_be_read(name: str) -> None:
    kept = load(RESULTS / f"{name}.json")
    assert all(line.requests and line.avg_s for line in kept.lines)
    assert [line.retry_after_s is not None for line in kept.lines] == [
        line.refused > 0 for line in kept.lines
    ]
