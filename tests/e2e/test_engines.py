"""All engines on the same speech: the words, the figures and the times must agree."""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctranslate2 import StorageView

from loadtest.common import speech
from loadtest.common.wer import wer
from whisper_serve.audio.decode import decode
from whisper_serve.engines import Engine, EngineSettings, load_engine, transcribe
from whisper_serve.engines.ctranslate2 import selected
from whisper_serve.errors import BadRequest, ConfigError, WeightsError
from whisper_serve.types import SAMPLE_RATE, Options, Segment, Window, WindowResult, Word
from whisper_serve.weights.download import fetch

MODELS = speech.ROOT / "models"
REFERENCE = "openai_whisper"
OURS = [name for name in ("openvino", "ctranslate2") if find_spec(name)]
ALL = [*OURS, REFERENCE]
ASKED = Options(word_timestamps=True, logprobs=True)


def load(name: str, model: str, **settings: Any) -> Engine:
    return load_engine(name, EngineSettings(fetch(model, MODELS), **{"cpus": 2, **settings}))


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    return {name: load(name, "base") for name in ALL}


@pytest.fixture(scope="module")
def clips() -> list[Window]:
    return [window(clip.path) for clip in speech.clips()]


@pytest.fixture(scope="module")
def outcomes(engines: dict[str, Engine], clips: list[Window]) -> dict[str, list[WindowResult]]:
    """What each engine makes of the clips, given no language."""
    return {name: run(engine, *clips) for name, engine in engines.items()}


def window(path: Path, options: Options = ASKED) -> Window:
    return Window(decode(path.read_bytes(), max_seconds=30).samples, 0.0, options)


def run(engine: Engine, *windows: Window) -> list[WindowResult]:
    outcomes = transcribe(engine, windows)
    assert len(outcomes) == len(windows)
    return [
        outcome for outcome in outcomes if isinstance(outcome, WindowResult) or pytest.fail(repr(outcome))
    ]


def text(result: WindowResult) -> str:
    return "".join(segment.text for segment in result.segments)


def words(result: WindowResult) -> list[Word]:
    return [word for segment in result.segments for word in segment.words]


def segments(outcomes: dict[str, list[WindowResult]]) -> list[Segment]:
    """Every segment of every engine."""
    return [segment for results in outcomes.values() for result in results for segment in result.segments]


def test_all_engines_transcribe_the_words(outcomes: dict[str, list[WindowResult]]) -> None:
    spoken = [clip.text for clip in speech.clips()]
    for results in outcomes.values():
        assert wer(spoken, [text(h) for h in results]) <= 0.25  # tiny.en; 63 words, odd names among them


@pytest.mark.parametrize("name", OURS)
def test_the_words_are_those_of_openai_whisper(outcomes: dict[str, list[WindowResult]], name: str) -> None:
    ours, theirs = ([text(h) for h in outcomes[engine]] for engine in (name, REFERENCE))
    assert wer(theirs, ours) <= 0.05


def test_all_engines_detect_the_language(outcomes: dict[str, list[WindowResult]]) -> None:
    for results in zip(*outcomes.values(), strict=True):
        assert {h.language for h in results} == {"en"}
        assert all(0.5 < h.language_probability <= 1 for h in results)


@pytest.mark.parametrize("name", OURS)
def test_the_figures_are_those_of_openai_whisper(outcomes: dict[str, list[WindowResult]], name: str) -> None:
    for ours, theirs in zip(outcomes[name], outcomes[REFERENCE], strict=True):
        a, b = ours.segments[0], theirs.segments[0]
        assert a.avg_logprob < 0
        assert a.avg_logprob == pytest.approx(b.avg_logprob, abs=0.2)
        assert a.no_speech_prob == pytest.approx(b.no_speech_prob, abs=0.2)
        assert a.compression_ratio == pytest.approx(b.compression_ratio, abs=0.1)


SAME_EDGES = {"openvino": 40, "ctranslate2": 20}  # of the words of clips with the same text in both, at least


@pytest.mark.parametrize("name", OURS)
def test_words_have_the_times_of_openai_whisper(outcomes: dict[str, list[WindowResult]], name: str) -> None:
    off = [
        abs(a - b)
        for ours, theirs in zip(outcomes[name], outcomes[REFERENCE], strict=True)
        if [w.text for w in words(ours)] == [w.text for w in words(theirs)]
        for word, other in zip(words(ours), words(theirs), strict=True)
        for a, b in ((word.start, other.start), (word.end, other.end))
    ]
    assert len(off) >= SAME_EDGES[name]
    assert np.median(off) <= 0.04


def test_words_make_up_their_segment_and_lie_inside_it_in_order(
    outcomes: dict[str, list[WindowResult]],
) -> None:
    for segment in segments(outcomes):
        assert "".join(word.text for word in segment.words) == segment.text
        times = [t for w in segment.words for t in (w.start, w.end)]
        assert times == sorted(times)
        assert segment.start <= times[0] <= times[-1] <= segment.end
        assert all(0 < word.probability <= 1 for word in segment.words)


def test_segments_are_in_order_inside_their_window(
    outcomes: dict[str, list[WindowResult]], clips: list[Window]
) -> None:
    for name in ALL:
        for clip, results in zip(clips, outcomes[name], strict=True):
            assert results.segments[0].start >= 0
            assert results.segments[-1].end <= clip.seconds
            assert all(a.end <= b.start for a, b in pairwise(results.segments))


def test_token_logprobs_spell_the_text(outcomes: dict[str, list[WindowResult]]) -> None:
    for segment in segments(outcomes):
        assert b"".join(bytes(t.bytes) for t in segment.logprobs).decode() == segment.text
        assert all(t.logprob <= 0 for t in segment.logprobs)
        assert max(t.logprob for t in segment.logprobs) > -0.1


@pytest.mark.parametrize("name", ALL)
def test_windows_of_one_batch_may_ask_for_different_things(
    engines: dict[str, Engine], clips: list[Window], name: str
) -> None:
    jfk = clips[0]
    plain, prompted, drawn, foreign, noise, german = transcribe(
        engines[name],
        [
            replace(jfk, options=Options(language="english")),
            replace(jfk, options=Options(language="en", prompt="JFK. " * 200, hotwords="Kennedy")),
            replace(jfk, options=Options(language="EN", temperature=0.2)),
            replace(jfk, options=Options(language="elvish")),
            replace(jfk, samples=np.full(SAMPLE_RATE, np.inf, np.float32)),
            replace(jfk, options=Options(language="de")),
        ],
    )
    for outcome in (plain, prompted, drawn):
        assert isinstance(outcome, WindowResult)
        assert wer([speech.clips()[0].text], [text(outcome)]) <= 0.15
        assert outcome.segments[0].words == ()
        assert outcome.segments[0].logprobs == ()
    assert isinstance(drawn, WindowResult)
    assert drawn.segments[0].temperature == 0.2
    assert isinstance(foreign, BadRequest)
    assert isinstance(noise, BadRequest)
    assert isinstance(german, WindowResult)
    assert german.language == "de"


MIXED = (Options("en"), Options(), Options("de"), Options("en", word_timestamps=True))
MORE = {"openvino": (Options("en", prompt="JFK."), Options("en", logprobs=True))}


@pytest.mark.parametrize("name", ALL)
def test_windows_of_one_key_run_as_one_batch_whatever_else_they_ask_for(
    engines: dict[str, Engine], clips: list[Window], name: str
) -> None:
    engine = engines[name]
    windows = [replace(clips[0], options=options) for options in MIXED + MORE.get(name, ())]
    assert len({engine.batch_key(window) for window in windows}) == 1
    together = engine.transcribe([engine.prepare(window) for window in windows])
    for window, result in zip(windows, together, strict=True):
        (alone,) = run(engine, window)
        assert isinstance(result, WindowResult)
        assert text(result) == text(alone)
        assert result.language == alone.language == (window.options.language or "en")
        assert bool(words(result)) == window.options.word_timestamps
        assert bool(result.segments[0].logprobs) == window.options.logprobs


@pytest.mark.parametrize("name", ALL)
def test_words_that_the_end_of_a_window_cuts_off_are_transcribed(
    engines: dict[str, Engine], clips: list[Window], name: str
) -> None:
    jfk = clips[0].samples
    thrice = np.concatenate([jfk, jfk, jfk])[: 30 * SAMPLE_RATE]
    (result,) = run(engines[name], Window(thrice, 0.0, Options(language="en")))
    spoken = (
        f"{speech.clips()[0].text} " * 2
        + "And so my fellow Americans, ask not what your country can do for you"
    )
    assert wer([spoken], [text(result)]) <= 0.1


@pytest.mark.parametrize("name", ALL)
def test_an_english_only_checkpoint_transcribes_english_and_refuses_the_rest(
    clips: list[Window], name: str
) -> None:
    engine = load(name, "tiny.en")
    english, german = transcribe(engine, [clips[0], replace(clips[0], options=Options(language="de"))])
    assert isinstance(english, WindowResult)
    assert english.language == "en"
    assert wer([speech.clips()[0].text], [text(english)]) <= 0.1
    assert words(english)
    assert isinstance(german, BadRequest)
    assert "English only" in str(german)
    assert engine.gpu_memory_gb() == 0.0


def test_an_engine_that_cannot_start_says_why() -> None:
    with pytest.raises(ConfigError, match="cannot compute in 'int8'"):
        load("openai_whisper", "tiny.en", compute_type="int8")
    for name in ALL:
        with pytest.raises(WeightsError, match="needs a model"):
            load_engine(name, EngineSettings(None))


def test_a_machine_without_openvino_is_served_by_ctranslate2() -> None:
    weights = fetch("tiny.en", MODELS)
    script = (
        "import sys; sys.modules['openvino'] = None\n"
        "from pathlib import Path\n"
        "from whisper_serve.engines import EngineSettings, load_engine\n"
        f"print(load_engine('auto', EngineSettings(Path({str(weights)!r}))).name)"
    )
    assert output_of(script) == "ctranslate2"


def test_importing_openvino_reports_to_nobody() -> None:
    pytest.importorskip("openvino")
    script = "import whisper_serve.engines.openvino.runtime, sys; print(sys.modules['openvino_telemetry'])"
    assert output_of(script) == "None"


def output_of(script: str) -> str:
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def test_some_rows_of_a_batchs_features_can_be_selected() -> None:
    rows = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    features = StorageView.from_array(rows)
    assert np.array_equal(np.array(selected(features, [2, 0])), rows[[2, 0]])
    assert selected(features, [0, 1, 2]) is features
