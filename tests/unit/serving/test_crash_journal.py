"""Deaths under a window, with processes that really end."""

import json
import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from whisper_serve.serving.crash_journal import CrashJournal, name_of, quarantine
from whisper_serve.types import Options, Window

HEARING = """
import os, signal, sys
from pathlib import Path
from whisper_serve.serving.crash_journal import CrashJournal
with CrashJournal(Path(sys.argv[1])).during(["deadly"]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def die_over_it(folder: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", HEARING, str(folder)], check=False)
    assert ended.returncode == -signal.SIGKILL


def test_a_death_is_counted_under_what_was_being_heard(tmp_path: Path) -> None:
    journal = CrashJournal(tmp_path)
    for deaths in (1, 2):
        die_over_it(tmp_path)
        assert journal.deaths("deadly") == deaths
        assert journal.deaths("harmless") == 0


def test_what_is_being_heard_by_the_living_is_no_death(tmp_path: Path) -> None:
    with CrashJournal(tmp_path).during(["long", "long"]):
        assert CrashJournal(tmp_path).deaths("long") == 0
    assert list(tmp_path.glob("long.*")) == []


def test_what_is_heard_in_the_end_is_cleared(tmp_path: Path) -> None:
    die_over_it(tmp_path)
    journal = CrashJournal(tmp_path)
    with journal.during(["deadly"]):
        assert journal.deaths("deadly") == 1
    assert journal.deaths("deadly") == 0


def test_an_engine_that_raises_has_not_died(tmp_path: Path) -> None:
    journal = CrashJournal(tmp_path)
    with pytest.raises(MemoryError), journal.during(["a"]):
        raise MemoryError
    assert journal.deaths("a") == 0


def test_deaths_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    die_over_it(tmp_path)
    journal = CrashJournal(tmp_path)
    for file in tmp_path.glob("deadly.*"):
        os.utime(file, (0, 0))
    assert journal.deaths("deadly") == 0


def test_the_same_sound_asked_otherwise_is_another() -> None:
    sound = np.zeros(100, np.float32)
    one, same = Window(sound, 0.0, Options()), Window(sound.copy(), 5.0, Options())
    assert name_of(one) == name_of(same)
    assert name_of(one) != name_of(Window(sound, 0.0, Options(word_timestamps=True)))


def test_what_is_set_aside_can_be_played_and_says_whose_it_was(tmp_path: Path) -> None:
    window = Window(np.full(16_000, 0.5, np.float32), 3.0, Options())
    path = quarantine(window, "abc", "request-1", tmp_path / "letters")
    with wave.open(str(path)) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (16_000, 16_000)
    told = json.loads(path.with_suffix(".json").read_text())
    assert told == {
        "path": str(path),
        "hash": "abc",
        "request_id": "request-1",
        "start_s": 3.0,
        "seconds": 1.0,
    }
