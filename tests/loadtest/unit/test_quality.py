import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadtest.common.bounds import Row
from loadtest.common.clips import Clip
from loadtest.common.errors import CannotRun
from loadtest.common.provenance import Machine, Origin
from loadtest.common.wer import Rate, normalizer, rate, unit
from loadtest.quality import times
from loadtest.quality.__main__ import Report, as_json, as_markdown
from loadtest.quality.corpus import LONG, NONSPEECH, Answer, load_recordings
from loadtest.quality.in_process import over
from loadtest.quality.replicas import Round, compared
from loadtest.quality.words import english, filter_cost, invented, languages
from tests.support.misbehaving_engine import MisbehavingEngine
from whisper_serve.engines import EngineSettings
from whisper_serve.errors import ModelFailed
from whisper_serve.types import Dropped, Options, Segment, Transcript, Window, Word

SPOKEN = "some words were spoken"


def words(text: str, start: float = 0.0) -> tuple[Word, ...]:
    """A word a second, half a second long."""
    return tuple(Word(start + i, start + i + 0.5, f" {w}", 0.9) for i, w in enumerate(text.split()))


def answer(
    text: str,
    engine: str = "a",
    name: str = "librispeech-test-clean/1.flac",
    start: float = 0.0,
    **fields: str,
) -> Answer:
    timed = words(text, start)
    segments = (Segment(start, start + len(timed), f" {text}", words=timed),) if text else ()
    recording = Clip(Path(name), fields.get("spoken", SPOKEN), 10.0, fields.get("language", "en"))
    transcript = Transcript(segments, 10.0, fields.get("detected", "en"), windows=len(segments))
    return Answer(engine, recording, transcript)


@pytest.mark.parametrize(
    ("row", "ok"),
    [
        (Row("", 0.05, most=0.05), True),
        (Row("", 0.051, most=0.05), False),
        (Row("", 1.79, least=1.8), False),
        (Row("", 1.8, least=1.8), True),
        (Row("", 7.0), None),
    ],
)
def test_a_figure_may_be_its_bound_but_not_beyond(row: Row, ok: bool | None) -> None:
    assert row.ok is ok


def test_a_rate_counts_edits_of_the_whole_corpus() -> None:
    assert rate(["Mr. Brown", "some words"], ["mister brown!", "some"], normalizer("en")) == Rate(1, 4)
    assert rate([SPOKEN], [SPOKEN], normalizer("en")).share == 0
    assert Rate(3, 0).share == 1.0


def test_languages_without_blanks_are_counted_by_the_character() -> None:
    assert rate(["广州市房"], ["广洲市房"], normalizer("zh")) == Rate(1, 4)
    assert rate(["guten Tag"], ["guten Tage"], normalizer("de")) == Rate(1, 2)
    assert [unit(language) for language in ("ja", "de", None)] == ["CER", "WER", "WER"]


def test_words_of_two_answers_are_matched_around_those_that_only_one_has() -> None:
    left, right = words("one two three four"), words("one tow three, and Four.")
    assert [(a.text, b.text) for a, b in times.match(left, right)] == [
        (" one", " one"),
        (" three", " three,"),
        (" four", " Four."),
    ]


def test_the_median_distance_of_word_times_is_taken_between_engines() -> None:
    rows = list(times.rows([answer(SPOKEN), answer(SPOKEN, "b", start=0.05)]))
    apart = {row.what: row for row in rows}["words' starts, median difference between engines"]
    assert apart.value == pytest.approx(0.05)
    assert apart.ok
    assert [row.value for row in rows[:3]] == [0, 0, 0]


def test_word_times_out_of_place_are_counted() -> None:
    late = Word(9.0, 10.5, " late", 0.9)
    early = Word(8.0, 8.5, " early", 0.9)
    transcript = Transcript((Segment(9.0, 10.0, " late early", words=(late, early)),), 10.0)
    assert times.outside(transcript) == 1
    assert times.outside_segment(transcript) == 2
    assert times.disordered(transcript) == 1


def test_error_rates_are_judged_by_part_and_between_engines() -> None:
    rows = {row.what: row for row in english([answer(SPOKEN), answer("some words", "b")], judge=True)}
    assert rows["WER, LibriSpeech test-clean subset, a"].ok is True
    assert rows["WER, LibriSpeech test-clean subset, b"].ok is False
    assert rows["WER, LibriSpeech test-clean subset, engines apart"].value == 0.5
    assert all(row.ok is None for row in english([answer("some words")], judge=False))


def test_the_filters_cost_is_what_the_dropped_words_would_have_mended() -> None:
    kept = answer("some words")
    dropped = Segment(2.0, 4.0, " were spoken")
    transcript = replace(kept.transcript, dropped=(Dropped(dropped, "repetition"),))
    cost, count = filter_cost("a", [replace(kept, transcript=transcript)])
    assert cost.value == 0.5
    assert (count.value, count.note) == (1, "repetition 1")


def test_words_nobody_spoke_are_counted_in_silence_and_elsewhere() -> None:
    silence = answer("", name=f"{NONSPEECH}/gen-silence-1s.wav", spoken="")
    song = answer("la la", name=f"{NONSPEECH}/song.mp3", spoken="")
    quiet, rest, unfiltered = invented([silence, song])
    assert (quiet.value, rest.value, unfiltered.value) == (0, 2, 2)
    assert "song.mp3: la la" in rest.note


def test_a_wrong_language_misses_its_bound_and_is_named() -> None:
    right = answer("hallo", name="wenet/a.wav", spoken="hallo", language="de", detected="de")
    wrong = answer("hola", name="wenet/b.wav", spoken="hallo", language="de", detected="es")
    rows = list(languages([right, wrong]))
    assert rows[0].ok is False
    assert "wenet/b.wav as es" in rows[0].note
    assert next(row for row in rows if row.what == "WER, de, a").value == 0.5


def test_two_replicas_are_compared_by_the_median_of_their_rounds() -> None:
    found = [
        Round(n, "given", seconds, SPOKEN) for n, seconds in ((1, 20.0), (2, 10.0), (2, 11.0), (1, 22.0))
    ]
    faster, same = compared(found, "given")
    assert faster.value == pytest.approx(2.0)
    assert faster.ok
    assert same.value == 0


def test_a_quick_run_takes_a_few_of_each_part_and_none_of_the_long(tmp_path: Path) -> None:
    row = {"duration_s": 1.0, "language": "en", "transcript": "one"}
    names = [*(f"vctk/{i:02}.wav" for i in range(20)), "wenet/1.wav", f"{LONG}/1.mp3", "invalid/1.wav"]
    lines = [json.dumps(row | {"path": name}) for name in names]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    assert len(load_recordings(tmp_path)) == 22
    quick = load_recordings(tmp_path, quick=True)
    assert [r.part for r in quick].count("vctk") == 5
    assert {r.part for r in quick} == {"vctk", "wenet"}


def test_without_recordings_nothing_is_measured(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"no manifest\.jsonl"):
        load_recordings(tmp_path)


def test_a_report_names_the_bounds_it_missed() -> None:
    rows = (Row("WER", 0.061, "%", most=0.056, note="61 of 1000 words", digits=2), Row("memory", 300, "MB"))
    made = Origin("2026-01-01", "abc", "python -m loadtest.quality", Machine("CPU", 2, 8, ""), {}, {})
    report = Report(made, ("a",), 60.0, rows)
    assert "| WER | 6.10 % | at most 5.60 % | MISSED | 61 of 1000 words |" in as_markdown(report)
    assert "- Bounds missed: WER" in as_markdown(report)
    assert [row["ok"] for row in json.loads(as_json(report))["rows"]] == [False, None]


@pytest.mark.anyio
async def test_windows_that_wait_share_a_batch_and_a_failure_is_its_own(anyio_backend: str) -> None:
    infer = over(MisbehavingEngine(EngineSettings(None)), batch_s=3.0)
    samples = np.zeros(16_000, np.float32)
    windows = [Window(samples, float(i), Options(prompt="explode" if i == 1 else "")) for i in range(5)]
    outcomes = await asyncio.gather(*map(infer, windows), return_exceptions=True)
    assert isinstance(outcomes[1], ModelFailed)
    texts = [o.segments[0].text for o in outcomes if not isinstance(o, BaseException)]
    assert [text[-2] for text in texts] == ["3", "3", "2", "2"]  # what comes while one is prepared
