"""Who is heard with whom, and who is not heard at all."""

import logging
import time
from pathlib import Path

import numpy as np
import pytest

from whisper_serve.engines import EngineSettings, Outcome
from whisper_serve.engines.fake import FakeEngine
from whisper_serve.errors import ModelFailed, PoisonWindow, TimedOut
from whisper_serve.serving.batch_runner import Asked, BatchRunner
from whisper_serve.serving.crash_journal import CrashJournal, name_of
from whisper_serve.types import SAMPLE_RATE, Options, Window, WindowResult


def asked(seconds: float, prompt: str = "", left_s: float = 60.0) -> Asked:
    window = Window(np.zeros(round(seconds * SAMPLE_RATE), np.float32), 0.0, Options("en", prompt=prompt))
    return Asked(window, time.monotonic() + left_s, "id")


def passes(folder: Path, dead_letters: Path | None = None) -> BatchRunner:
    return BatchRunner(FakeEngine(EngineSettings(None)), CrashJournal(folder), dead_letters)


def hear(passes: BatchRunner, *batch: Asked) -> list[Outcome]:
    return passes.run([passes.prepare(one) for one in batch])


def die_over(folder: Path, one: Asked, times: int) -> None:
    """What processes leave behind that ended over it."""
    for i in range(times):
        (folder / f"{name_of(one.window)}.gone{i}.0").touch()


def text(outcome: Outcome) -> str:
    assert isinstance(outcome, WindowResult), outcome
    return outcome.segments[0].text


def test_a_batch_is_heard_in_one_pass_and_each_bears_its_share_of_it(tmp_path: Path) -> None:
    short, long = hear(passes(tmp_path), asked(2), asked(6))
    assert text(short) == " 2.0 seconds at 0.0, batch of 2."
    assert isinstance(short, WindowResult)
    assert isinstance(long, WindowResult)
    assert (short.batch_windows, short.batch_audio_s) == (2, 8.0)
    assert short.batch_inference_s == long.batch_inference_s
    assert short.inference_s == pytest.approx(short.batch_inference_s / 4)
    assert list(tmp_path.glob("*.*.*")) == []


def test_what_came_too_late_is_not_heard(tmp_path: Path) -> None:
    fine, late = hear(passes(tmp_path), asked(2), asked(6, left_s=-1))
    assert text(fine).endswith("batch of 1.")
    assert isinstance(late, TimedOut)


def test_what_ended_a_process_is_heard_alone_and_then_cleared(tmp_path: Path) -> None:
    die_over(tmp_path, suspect := asked(6), 1)
    ours = passes(tmp_path)
    assert [text(o) for o in hear(ours, asked(2), suspect, asked(3))] == [
        " 2.0 seconds at 0.0, batch of 2.",
        " 6.0 seconds at 0.0, batch of 1.",
        " 3.0 seconds at 0.0, batch of 2.",
    ]
    assert text(hear(ours, suspect, asked(2))[0]).endswith("batch of 2.")


def test_what_ended_two_processes_is_refused_and_kept_aside(tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    die_over(tmp_path, deadly := asked(6), 2)
    fine, refused = hear(passes(tmp_path, dead_letters=letters), asked(2), deadly)
    assert text(fine).endswith("batch of 1.")
    assert isinstance(refused, PoisonWindow)
    assert {file.suffix for file in letters.iterdir()} == {".wav", ".json"}


def test_of_a_batch_that_breaks_the_engine_only_the_guilty_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        fine, guilty, other = hear(passes(tmp_path), asked(2), asked(3, "crash"), asked(4))
    assert text(fine).endswith("batch of 1.")
    assert text(other).endswith("batch of 1.")
    assert isinstance(guilty, ModelFailed)


def test_what_cannot_be_prepared_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = passes(tmp_path)
    fine = ours.prepare(asked(2))
    monkeypatch.setattr(FakeEngine, "prepare", lambda self, window: 1 / 0)
    failed, heard = ours.run([ours.prepare(asked(3)), fine])
    assert isinstance(failed, ModelFailed)
    assert "ZeroDivisionError" in str(failed)
    assert text(heard).endswith("batch of 1.")
