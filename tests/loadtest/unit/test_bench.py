"""The bench's pure parts: turns, closed loops, figures, verdicts, reports."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loadtest.bench.child import Start
from loadtest.bench.figures import Measured, line_of, of, ratios
from loadtest.bench.plan import (
    CROWD,
    FASTER_WHISPER,
    FULL_CONTEXT,
    ONE_REPLICA,
    PEERS,
    SERVICE,
    Field,
    Job,
    candidates,
    turns,
)
from loadtest.bench.report import as_json, as_markdown
from loadtest.bench.verdicts import verdicts
from loadtest.bench.workloads import MIX, ONE_LONG, QUICK, SHORT, requests, stitched
from loadtest.common.client import Result, closed_loop
from loadtest.common.clips import Clip
from loadtest.common.errors import CannotRun
from tests.support.bench_report import LINE, compared, report

WAY = Start(FASTER_WHISPER, workers=1, threads=2)
FIELD = Field(PEERS, {"deployment": {"num_replicas": 2}}, WAY, WAY, 2, "weights")
CLIPS = tuple(Clip(Path(f"/clips/{n}.flac"), f"words of clip {n}", 1.0 + n) for n in range(10))


def test_every_other_round_runs_backwards() -> None:
    first, second, third = (turns(FIELD, replace(QUICK, rounds=3), number) for number in range(3))
    assert [t.peer for t in second] == [t.peer for t in third][::-1]
    assert [t for t in first if t.peer != FULL_CONTEXT] == third


def test_full_context_is_measured_once_and_one_replica_in_each_round() -> None:
    peers = [turn.peer for number in range(3) for turn in turns(FIELD, QUICK, number)]
    assert (peers.count(FULL_CONTEXT), peers.count(ONE_REPLICA)) == (1, 3)


def test_the_services_variants_differ_from_it_in_one_setting() -> None:
    starts = {turn.peer: turn.start.overrides for turn in turns(FIELD, QUICK, 0)}
    assert starts[SERVICE] == {"deployment": {"num_replicas": 2}}
    assert starts[ONE_REPLICA] == {"deployment": {"num_replicas": 1}}
    assert starts[FULL_CONTEXT] == {"deployment": {"num_replicas": 2}, "model": {"context": "full"}}


def test_only_the_peers_that_are_asked_for_take_part() -> None:
    peers = {turn.peer for turn in turns(replace(FIELD, peers=(SERVICE,)), QUICK, 1)}
    assert peers == {SERVICE, ONE_REPLICA}


def test_faster_whisper_starts_twice_where_one_way_is_not_best_for_all() -> None:
    several = replace(WAY, workers=2, threads=1)
    parts = [t for t in turns(replace(FIELD, together=several), QUICK, 0) if t.peer == FASTER_WHISPER]
    assert [part.start for part in parts] == [WAY, several]
    assert [part.jobs for part in parts] == [
        (Job(SHORT, 1), Job(ONE_LONG, 1)),
        (Job(SHORT, 16), Job(MIX, 16)),
    ]
    (once,) = [t for t in turns(FIELD, QUICK, 0) if t.peer == FASTER_WHISPER]
    assert sorted(once.jobs, key=str) == sorted((*parts[0].jobs, *parts[1].jobs), key=str)


@pytest.mark.parametrize(("cpus", "shapes"), [(1, {(1, 1)}), (2, {(1, 2), (2, 1)}), (4, {(1, 4), (4, 1)})])
def test_faster_whisper_is_tried_with_all_cores_either_way(cpus: int, shapes: set[tuple[int, int]]) -> None:
    extent = replace(QUICK, timestamps=(False, True))
    ways = candidates(replace(FIELD, cpus=cpus), extent)
    assert {(way.workers, way.threads) for way in ways} == shapes
    assert len(ways) == 2 * len(shapes)


def test_each_caller_has_some_short_clips_and_a_long_one_is_asked_once() -> None:
    clips = {SHORT: CLIPS, ONE_LONG: CLIPS[:1], MIX: CLIPS}
    assert len(requests(clips, SHORT, 1)) == 10
    assert len(requests(clips, SHORT, 16)) == 32
    assert len(requests(clips, ONE_LONG, 1)) == 1
    assert requests(clips, SHORT, 16)[10:20] == CLIPS


def test_a_stitched_recording_lasts_as_long_as_it_says_and_has_all_words(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(16_000, np.float32), 16_000)
    clips = [Clip(tmp_path / "a.wav", "one two", 1.0), Clip(tmp_path / "b.wav", "three", 1.0)]
    long = stitched(clips, 4.0, tmp_path / "long.flac")
    assert long.text == "one two three one two"
    assert long.seconds == soundfile.info(long.path).duration == 4.5


def test_a_closed_loop_keeps_all_callers_busy_and_asks_every_clip_once() -> None:
    gate = threading.Barrier(5, timeout=5)

    def ask(clip: Clip) -> str:
        gate.wait()  # passes only while five are asking at once
        return clip.text

    loop = closed_loop(ask, CLIPS, 5)
    assert sorted(result.clip.text for result in loop.results) == [clip.text for clip in CLIPS]
    assert all(r.clip.text == r.text and r.latency_s <= loop.wall_s for r in loop.results)


def test_a_closed_loop_ends_with_the_first_failure_of_a_caller() -> None:
    asked: list[Clip] = []

    def ask(clip: Clip) -> str:
        asked.append(clip)
        raise CannotRun("no")

    with pytest.raises(CannotRun, match="no"):
        closed_loop(ask, CLIPS * 100, 2)
    assert len(asked) <= 2


def test_a_line_sums_words_over_the_corpus_and_counts_by_the_wall_clock() -> None:
    clips = Clip(Path("a"), "A B C D", 4.0), Clip(Path("b"), "e", 6.0)
    results = Result(clips[0], 0.2, "a b c d"), Result(clips[1], 0.4, "f")
    line = line_of(
        SERVICE, Job(SHORT, 1), 1, Measured(results, 2.0, {"model": 4.0, "proxy": 1.0}, 100.0, 0.1)
    )
    assert (line.edits, line.words, line.wer) == (1, 5, 0.2)
    assert (line.requests_per_s, line.audio_per_s) == (1.0, 5.0)
    assert line.cpu_per_audio_s == 0.5
    assert line.p50_s == pytest.approx(0.3)


def test_ratios_are_taken_round_by_round() -> None:
    ours = [replace(LINE, round=n, requests_per_s=10.0 * n) for n in (1, 2, 3)]
    theirs = [replace(LINE, peer=FASTER_WHISPER, round=n, requests_per_s=2.0) for n in (3, 1)]
    job = Job(SHORT, CROWD)
    lines = [*ours, *theirs]
    found = ratios(of(lines, SERVICE, job), of(lines, FASTER_WHISPER, job), lambda line: line.requests_per_s)
    assert found == [5.0, 15.0]


def test_a_comparison_is_judged_by_the_median_of_its_rounds() -> None:
    lines = [replace(line, round=n) for n in (1, 2, 3) for line in compared()]
    (row,) = [row for row in verdicts(lines, 2, True) if row.least == 4.0]
    assert row.value == 4.0
    assert row.ok
    lines[0] = replace(lines[0], requests_per_s=9.0)
    lines[2] = replace(lines[2], requests_per_s=9.9)
    (row,) = [row for row in verdicts(lines, 2, True) if row.least == 4.0]
    assert row.value == pytest.approx(3.96)
    assert row.ok is False


def test_what_was_not_measured_on_both_sides_has_no_verdict() -> None:
    assert verdicts([LINE], 2, True) == []


def test_words_are_not_judged_by_few_clips_and_scaling_only_from_one_replica_to_two() -> None:
    lines = [LINE, replace(LINE, peer=FULL_CONTEXT, edits=0), replace(LINE, peer=ONE_REPLICA)]
    assert [row.ok for row in verdicts(lines, 2, True)] == [False, False]
    assert [row.ok for row in verdicts(lines, 2, False)] == [False, None]
    assert [row.ok for row in verdicts(lines, 4, False)] == [None, None]


def test_the_markdown_has_the_verdicts_the_figures_and_who_was_left_out() -> None:
    text = as_markdown(report())
    assert "4.00 times | at least 4.00 times | ok" in text
    assert "| short clips | 16 | faster-whisper | 2.50 |" in text
    assert "whisper.cpp: not there" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| short")}
    assert len(widths) == 1


def test_a_report_without_lines_can_still_be_written() -> None:
    assert "# Bench" in as_markdown(replace(report(), lines=(), rows=()))


def test_the_json_holds_every_line_and_verdict() -> None:
    fields = json.loads(as_json(report()))
    assert [line["wer"] for line in fields["lines"]] == [0.05, 0.05]
    assert fields["rows"][0]["ok"] is True
