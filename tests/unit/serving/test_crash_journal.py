"""The crash journal, with processes that are really killed."""

import json
import os
import signal
import threading
import warnings
import wave
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from whisper_serve.serving.crash_journal import (
    CrashJournal,
    deaths_after,
    left_by,
    mark_poison,
    name_of,
    quarantine,
)
from whisper_serve.types import Options, Window


def die_with(folder: Path, *names: str) -> str:
    """Have a process killed that is working on these windows; return its name."""
    process = uuid4().hex
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of forking beside threads: the child uses files alone
        child = os.fork()
    if not child:
        with CrashJournal(folder, process).batch(names):
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return process


def journal(folder: Path) -> CrashJournal:
    return CrashJournal(folder, uuid4().hex)


def test_each_death_while_a_window_was_alone_counts_against_it(tmp_path: Path) -> None:
    ours = journal(tmp_path)
    for deaths in (1, 2):
        die_with(tmp_path, "poison")
        assert ours.deaths("poison") == deaths
        assert ours.deaths("harmless") == 0


def test_deaths_in_a_batch_with_others_count_once_however_many_there_were(tmp_path: Path) -> None:
    for others in (["a", "b"], ["c"]):
        die_with(tmp_path, "poison", *others)
    ours = journal(tmp_path)
    assert ours.deaths("poison") == ours.deaths("a") == 1
    die_with(tmp_path, "poison")
    assert ours.deaths("poison") == 2
    assert ours.deaths("a") == 1


@pytest.mark.parametrize(
    ("processed_by_the_dead", "deaths"),
    [
        ([], 0),
        ([["other"]], 0),
        ([["me"]], 1),
        ([["me", "other"]], 1),
        ([["me", "other"], ["me", "killer"]], 1),
        ([["me", "other"], ["other"]], 1),
        ([["me", "other"], ["me"]], 2),
        ([["me"], ["me"]], 2),
    ],
)
def test_only_a_death_while_alone_convicts_a_suspect(
    processed_by_the_dead: list[list[str]], deaths: int
) -> None:
    counted = 0
    for processed in processed_by_the_dead:
        counted = deaths_after(counted, "me", processed)
    assert counted == deaths


def test_what_a_dead_process_was_working_on_can_be_read_and_of_a_living_one_nothing(tmp_path: Path) -> None:
    dead = die_with(tmp_path, "a", "b")
    assert sorted(left_by(tmp_path, dead)) == ["a", "b"]
    with CrashJournal(tmp_path, "alive").batch(["c"]):
        assert left_by(tmp_path, "alive") == ()


def test_a_window_in_a_living_process_counts_no_death(tmp_path: Path) -> None:
    with journal(tmp_path).batch(["long", "long"]):
        assert journal(tmp_path).deaths("long") == 0
    assert list(tmp_path.glob("long.*")) == []


def test_a_window_that_is_transcribed_in_the_end_is_cleared(tmp_path: Path) -> None:
    die_with(tmp_path, "suspect")
    ours = journal(tmp_path)
    with ours.batch(["suspect"]):
        assert ours.deaths("suspect") == 1
    assert ours.deaths("suspect") == 0


def test_an_engine_that_raises_has_not_died(tmp_path: Path) -> None:
    ours = journal(tmp_path)
    with pytest.raises(MemoryError), ours.batch(["a"]):
        raise MemoryError
    assert ours.deaths("a") == 0


def test_deaths_of_long_ago_are_forgotten_and_their_files_removed(tmp_path: Path) -> None:
    dead = die_with(tmp_path, "poison")
    ours = CrashJournal(tmp_path, "first")
    for file in [*tmp_path.glob("poison.*"), tmp_path / f"{dead}.lock"]:
        os.utime(file, (0, 0))
    assert ours.deaths("poison") == 0
    CrashJournal(tmp_path, "second")
    assert {file.name for file in tmp_path.iterdir()} == {"first.lock", "second.lock"}


def test_a_window_marked_as_poison_counts_as_one_that_killed_twice(tmp_path: Path) -> None:
    mark_poison(tmp_path / "journal", "poison")
    assert journal(tmp_path / "journal").deaths("poison") == 2


def test_a_suspect_is_processed_while_nothing_else_is(tmp_path: Path) -> None:
    ours, order = journal(tmp_path), []
    waiting, first_in = threading.Event(), threading.Event()

    def batch() -> None:
        with ours.batch(["a", "b"]):
            first_in.set()
            assert waiting.wait(10)
            order.append("batch ends")

    def suspect() -> None:
        waiting.set()
        with ours.processing(["suspect"], alone=True):
            order.append("suspect begins")
            order.append(f"{len(list(tmp_path.glob('*.*.*')))} window")
            order.append("suspect ends")

    threads = [threading.Thread(target=batch), threading.Thread(target=suspect)]
    threads[0].start()
    assert first_in.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert order == ["batch ends", "suspect begins", "1 window", "suspect ends"]


def test_the_same_audio_has_the_same_name_and_with_other_options_another() -> None:
    samples = np.zeros(100, np.float32)
    one, same = Window(samples, 0.0, Options()), Window(samples.copy(), 5.0, Options())
    assert name_of(one) == name_of(same)
    assert name_of(one) != name_of(Window(samples, 0.0, Options(word_timestamps=True)))


def test_a_dead_letter_can_be_played_and_names_its_request(tmp_path: Path) -> None:
    window = Window(np.full(16_000, 0.5, np.float32), 3.0, Options())
    path = quarantine(window, "abc", "request-1", tmp_path / "letters")
    with wave.open(str(path)) as audio:
        assert (audio.getframerate(), audio.getnframes()) == (16_000, 16_000)
    assert json.loads(path.with_suffix(".json").read_text()) == {
        "path": str(path),
        "hash": "abc",
        "request_id": "request-1",
        "start_s": 3.0,
        "seconds": 1.0,
    }
