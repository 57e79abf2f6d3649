"""Which windows share an inference batch, which run alone, and which not at all."""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from tests.support.misbehaving_engine import MisbehavingEngine
from tests.support.scripted_whisper import ScriptedModel, decoded
from whisper_serve.engines import Engine, EngineSettings, Outcome
from whisper_serve.engines.whisper.engine import WhisperEngine
from whisper_serve.engines.whisper.model import Decoded
from whisper_serve.engines.whisper.request import DecodeRequest
from whisper_serve.errors import BadRequest, ModelFailed, PoisonWindow, TimedOut
from whisper_serve.serving.batch_runner import BatchRunner, WindowRequest
from whisper_serve.serving.batcher import Batcher
from whisper_serve.serving.crash_journal import CrashJournal, name_of
from whisper_serve.telemetry import metrics
from whisper_serve.types import SAMPLE_RATE, Options, Window, WindowResult


def asked(
    seconds: float, prompt: str = "", left_s: float = 60.0, deaths: int = 0, **options: Any
) -> WindowRequest:
    samples = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    window = Window(samples, 0.0, replace(Options("en", prompt=prompt), **options))
    return WindowRequest(window, time.monotonic() + left_s, "id", deaths)


def runner(folder: Path, dead_letters: Path | None = None, engine: Engine | None = None) -> BatchRunner:
    engine = engine or MisbehavingEngine(EngineSettings(None))
    return BatchRunner(engine, CrashJournal(folder, uuid4().hex), dead_letters)


def run(ours: BatchRunner, *batch: WindowRequest) -> list[Outcome]:
    return ours.run([ours.prepare(one) for one in batch])


def die_over(folder: Path, one: WindowRequest, times: int) -> None:
    """What processes leave behind that ended over it."""
    for i in range(times):
        (folder / f"{name_of(one.window)}.gone{i}.0").touch()


def text(outcome: Outcome) -> str:
    assert isinstance(outcome, WindowResult), outcome
    return outcome.segments[0].text


def test_windows_run_as_one_batch_and_each_bears_its_share_of_the_time(tmp_path: Path) -> None:
    short, long = run(runner(tmp_path), asked(2), asked(6))
    assert text(short) == " 2.0 seconds at 0.0, batch of 2."
    assert isinstance(short, WindowResult)
    assert isinstance(long, WindowResult)
    assert (short.batch_windows, short.batch_audio_s) == (2, 8.0)
    assert short.batch_inference_s == long.batch_inference_s
    assert short.inference_s == pytest.approx(short.batch_inference_s / 4)
    assert 0 < short.batch_inference_s < 5
    assert short.engine == long.engine == "fake"
    assert list(tmp_path.glob("*.*.*")) == []


def test_the_time_of_a_batch_is_that_of_preparing_its_windows_and_of_running_them(tmp_path: Path) -> None:
    ours = runner(tmp_path)
    prepared = [ours.prepare(one) for one in (asked(2), asked(6))]
    slow = [replace(one, prepare_s=10.0) for one in prepared if isinstance(one, WindowRequest)]
    outcome, _ = ours.run(slow)
    assert isinstance(outcome, WindowResult)
    assert 20 < outcome.batch_inference_s < 25
    assert outcome.inference_s == pytest.approx(outcome.batch_inference_s / 4)


def test_a_window_without_samples_is_run_and_bears_no_time(tmp_path: Path) -> None:
    (outcome,) = run(runner(tmp_path), asked(0))
    assert isinstance(outcome, WindowResult)
    assert outcome.inference_s == 0


def test_what_a_batch_was_is_counted_once(tmp_path: Path) -> None:
    values: dict[str, list[float]] = {}
    series = (metrics.BATCH_WINDOWS, metrics.BATCH_AUDIO, metrics.BUSY, metrics.TRANSCRIBED_AUDIO)

    def into(name: str) -> metrics.Record:
        return lambda value, _: values.setdefault(name, []).append(value)

    metrics.record_with({one.name: into(one.name) for one in series})
    run(runner(tmp_path), asked(2), asked(6))
    metrics.record_with({one.name: lambda value, labels: None for one in series})
    (busy_s,) = values.pop(metrics.BUSY.name)
    assert 0 < busy_s < 5
    assert values == {"batch_windows": [2], "batch_audio_seconds": [8.0], "transcribed_audio_seconds": [8.0]}


@pytest.mark.parametrize("step", ["prepare", "transcribe"])
@pytest.mark.parametrize(("deaths", "patience_s"), [(0, 5.0), (1, 0.03)], ids=["unsuspected", "suspected"])
def test_nothing_else_is_worked_on_beside_what_a_process_died_of(
    tmp_path: Path, step: str, deaths: int, patience_s: float
) -> None:
    engine = Meeting(step, patience_s)
    ours = runner(tmp_path, engine=engine)
    requests = [asked(2), asked(3, deaths=deaths)]
    with ThreadPoolExecutor(2) as threads:
        prepared = [*(threads.map if step == "prepare" else map)(ours.prepare, requests)]
        outcomes = [*threads.map(lambda one: ours.run([one]), prepared)]
    assert all(isinstance(outcome, WindowResult) for (outcome,) in outcomes)
    assert engine.met == (deaths == 0)


def test_what_nobody_waits_for_any_more_is_not_run(tmp_path: Path) -> None:
    fine, late = run(runner(tmp_path), asked(2), asked(6, left_s=-1))
    assert text(fine).endswith("batch of 1.")
    assert isinstance(late, TimedOut)


def test_what_a_process_died_of_runs_alone_and_is_then_cleared(tmp_path: Path) -> None:
    die_over(tmp_path, suspect := asked(6), 1)
    ours = runner(tmp_path)
    assert [text(o) for o in run(ours, asked(2), suspect, asked(3))] == [
        " 2.0 seconds at 0.0, batch of 2.",
        " 6.0 seconds at 0.0, batch of 1.",
        " 3.0 seconds at 0.0, batch of 2.",
    ]
    assert text(run(ours, suspect, asked(2))[0]).endswith("batch of 2.")


def test_what_two_processes_died_of_is_refused_and_kept_aside(tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    die_over(tmp_path, deadly := asked(6), 2)
    fine, refused = run(runner(tmp_path, dead_letters=letters), asked(2), deadly)
    assert text(fine).endswith("batch of 1.")
    assert isinstance(refused, PoisonWindow)
    assert {file.suffix for file in letters.iterdir()} == {".wav", ".json"}


def test_deaths_on_other_machines_count_as_those_on_this_one(tmp_path: Path) -> None:
    ours = runner(tmp_path)
    suspect, poison = asked(6, deaths=1), asked(7, deaths=2)
    fine, alone, refused = run(ours, asked(2), suspect, poison)
    assert text(fine).endswith("batch of 1.")
    assert text(alone).endswith("batch of 1.")
    assert isinstance(refused, PoisonWindow)


def test_a_death_that_is_in_both_counts_counts_once(tmp_path: Path) -> None:
    die_over(tmp_path, asked(6), 1)
    (outcome,) = run(runner(tmp_path), asked(6, deaths=1))
    assert text(outcome).endswith("batch of 1.")


def test_of_a_batch_that_breaks_the_engine_only_the_cause_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        fine, cause, other = run(runner(tmp_path), asked(2), asked(3, "crash"), asked(4))
    assert text(fine).endswith("batch of 1.")
    assert text(other).endswith("batch of 1.")
    assert isinstance(cause, ModelFailed)


def test_what_cannot_be_prepared_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = runner(tmp_path)
    fine = ours.prepare(asked(2))
    monkeypatch.setattr(MisbehavingEngine, "prepare", lambda self, window: 1 / 0)
    failed, other = ours.run([ours.prepare(asked(3)), fine])
    assert isinstance(failed, ModelFailed)
    assert "ZeroDivisionError" in str(failed)
    assert text(other).endswith("batch of 1.")


def test_a_batch_that_breaks_the_model_is_split_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = ScriptedModel({2: [decoded(" fine")], 4: [decoded(" fine")]})
    with caplog.at_level(logging.CRITICAL):
        ours = runner(tmp_path, engine=WhisperEngine(model))
        fine, cause, other = run(ours, asked(2), asked(3), asked(4))
    assert (text(fine), text(other)) == (" fine", " fine")
    assert isinstance(cause, ModelFailed)
    assert [[r.seconds for r in batch] for batch in model.batches] == [[2, 3, 4], [2], [3], [4]]


def test_what_the_model_cannot_do_is_refused_and_is_no_failure_of_the_engine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = ScriptedModel({2: [decoded(" fine")]})
    ours = runner(tmp_path, engine=WhisperEngine(model))
    fine, refused = run(ours, asked(2), asked(2, language="xx"))
    assert text(fine) == " fine"
    assert isinstance(refused, BadRequest)
    assert caplog.records == []


def test_deaths_that_the_caller_knows_of_count_like_those_of_this_machine(tmp_path: Path) -> None:
    ours = runner(tmp_path)
    once, twice = (replace(asked(6), deaths=deaths) for deaths in (1, 2))
    fine, alone, refused = run(ours, asked(2), once, twice)
    assert text(fine).endswith("batch of 1.")
    assert text(alone).endswith("batch of 1.")
    assert isinstance(refused, PoisonWindow)


def test_the_reported_size_of_a_batch_is_that_of_what_really_ran_together(tmp_path: Path) -> None:
    """Windows of two kinds wait together: with and without a prompt, which this model cannot mix."""
    model = HeldUp({5: [decoded(" a")]})
    engine = WhisperEngine(model)
    ours = runner(tmp_path, engine=engine)
    kinds = ["", "prompt", "", "prompt", "prompt"]

    async def story() -> list[Outcome]:
        batcher: Batcher[WindowRequest, WindowRequest | Outcome, Outcome] = Batcher(
            ours.prepare, ours.run, workers=1, batch_audio_s=60.0, batch_items=8
        )
        requests = [asked(5, prompt) for prompt in ["", *kinds]]
        tasks = [asyncio.create_task(batcher(one, 5.0, engine.batch_key(one.window))) for one in requests[:1]]
        await asyncio.to_thread(model.begun.wait, 5)
        tasks += [
            asyncio.create_task(batcher(one, 5.0, engine.batch_key(one.window))) for one in requests[1:]
        ]
        await asyncio.sleep(0)
        model.go.set()
        return await asyncio.gather(*tasks)

    first, *waited = asyncio.run(story())
    assert isinstance(first, WindowResult)
    assert first.batch_windows == 1
    reported = [(o.batch_windows, o.engine) for o in waited if isinstance(o, WindowResult)]
    assert reported == [(2 if kind == "" else 3, "scripted") for kind in kinds]
    assert [len(batch) for batch in model.batches] == [1, 2, 3]


class Meeting(MisbehavingEngine):
    """In one of its methods each thread waits for another one, up to `patience_s`."""

    def __init__(self, step: str, patience_s: float) -> None:
        super().__init__(EngineSettings(None))
        self.met = False
        self._step, self._both = step, threading.Barrier(2, timeout=patience_s)

    def prepare(self, window: Window) -> Window:
        self._meet("prepare")
        return super().prepare(window)

    def transcribe(self, batch: Sequence[Window]) -> list[Outcome]:
        self._meet("transcribe")
        return super().transcribe(batch)

    def _meet(self, step: str) -> None:
        if step == self._step:
            with suppress(threading.BrokenBarrierError):
                self._both.wait()
                self.met = True


class HeldUp(ScriptedModel):
    """Its first batch takes until `go` is set."""

    def __init__(self, script: dict[float, Sequence[Decoded]]) -> None:
        super().__init__(script)
        self.begun, self.go = threading.Event(), threading.Event()

    def features(self, requests: Sequence[DecodeRequest]) -> Sequence[DecodeRequest]:
        self.begun.set()
        assert self.go.wait(5)
        return super().features(requests)
