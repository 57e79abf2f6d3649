"""What a load test will do: clips, mixes, shapes, and where it may go."""

import json
import wave
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from loadtest.common.clips import Clip, digest, load_clips, mixed
from loadtest.common.errors import CannotRun
from loadtest.common.service import Sections, allowed, changed
from loadtest.load.shapes import SHAPES, Plan, arrivals, stages

CLIPS = [Clip(Path(f"/speech/{n}.flac"), f"words {n}", float(n)) for n in range(1, 29)]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:1", "http://127.9.9.9"]
)
def test_this_machine_may_be_loaded(url: str) -> None:
    assert allowed(url + "/", {}) == url


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1:8000", "https://example.com", "http://0.0.0.0:1", "http://127.0.0.1@example.com"]
)
def test_another_machine_is_refused_unless_it_is_allowed(url: str) -> None:
    with pytest.raises(CannotRun, match="ALLOW_REMOTE=1"):
        allowed(url, {"ALLOW_REMOTE": "0"})
    assert allowed(url, {"ALLOW_REMOTE": "1"}) == url


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(CannotRun, match="no http"):
        allowed(url, {"ALLOW_REMOTE": "1"})


def test_the_default_ladder_ends_at_512_users() -> None:
    assert [s.load for s in stages("ladder", (), 20, 5)] == [4, 8, 16, 32, 64, 128, 192, 256, 512]


def test_a_spike_is_measured_by_the_clock_and_its_recovery_has_a_name_of_its_own() -> None:
    made = stages("spike", (), 20, 5)
    assert [s.label for s in made] == ["4", "128", "4 #2"]
    assert not any(s.settles or s.warmup_s for s in made)


def test_an_open_loop_takes_parts_of_a_request_a_second() -> None:
    assert [s.label for s in stages("open", (0.5, 2), 20, 5)] == ["0.5", "2"]


@pytest.mark.parametrize(("level", "seconds"), [(0, 20), (-4, 20), (1.5, 20), (4, 0)])
def test_a_level_that_makes_no_sense_is_a_sentence(level: float, seconds: float) -> None:
    with pytest.raises(CannotRun):
        stages("ladder", (level,), seconds, 5)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_levels_of_its_own(shape: str) -> None:
    assert stages(shape, (), 20, 5)


def test_arrivals_are_poisson_and_the_same_for_the_same_seed() -> None:
    moments = list(arrivals(50, 200, seed=1))
    gaps = [b - a for a, b in pairwise(moments)]
    mean = sum(gaps) / len(gaps)
    assert len(moments) == pytest.approx(10_000, rel=0.03)
    assert sum((g - mean) ** 2 for g in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.1)
    assert moments == list(arrivals(50, 200, seed=1))


def test_a_mix_takes_clips_of_its_lengths_evenly() -> None:
    assert [c.seconds for c in mixed(CLIPS, "short", 5)] == [1, 2, 3, 4, 5]
    assert [c.seconds for c in mixed(CLIPS, "long", 3)] == [13, 19, 25]
    few = mixed(CLIPS, "mixed", 7)
    assert sum(c.seconds for c in few) / len(few) == pytest.approx(14.5, abs=1)


def test_a_mix_without_clips_is_a_sentence() -> None:
    with pytest.raises(CannotRun, match="none of the 1 clips lasts 10"):
        mixed(CLIPS[:1], "long", 5)


def test_a_choice_of_clips_has_the_same_name_in_any_order_and_folder() -> None:
    moved = [Clip(Path("/elsewhere", c.name), c.text, c.seconds) for c in reversed(CLIPS)]
    assert digest(CLIPS) == digest(moved)
    assert digest(CLIPS) != digest(CLIPS[1:])


def write_clips(folder: Path) -> None:
    (folder / "set").mkdir()
    for name in ("set/a.wav", "b.wav"):
        with wave.open(str(folder / name), "wb") as sound:
            sound.setparams((1, 2, 16_000, 0, "NONE", ""))
            sound.writeframes(bytes(32_000))
    entries = [
        {"path": "set/a.wav", "transcript": "one"},
        {"path": "set/noise.wav", "duration_s": 3.0},
        {"path": "b.wav", "transcript": "two", "duration_s": 2.5},
    ]
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(e) for e in entries) + "\n")


def test_clips_are_those_whose_words_the_manifest_has(tmp_path: Path) -> None:
    write_clips(tmp_path)
    assert [(c.name, c.text, c.seconds) for c in load_clips(tmp_path)] == [
        ("a.wav", "one", 1.0),
        ("b.wav", "two", 2.5),
    ]


def test_a_manifest_beside_a_folder_serves_it(tmp_path: Path) -> None:
    write_clips(tmp_path)
    assert [c.name for c in load_clips(tmp_path / "set")] == ["a.wav"]


def test_a_folder_without_a_manifest_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"no manifest\.jsonl"):
        load_clips(tmp_path / "nowhere")


def test_a_plan_survives_the_way_to_the_driver() -> None:
    plan = Plan("asr", stages("spike", (), 20, 5), tuple(CLIPS), 0.35, 7, "http://127.0.0.1:1", Path("run"))
    travelled = TypeAdapter(Plan).validate_json(TypeAdapter(Plan).dump_json(plan))
    assert travelled == plan


def test_an_override_leaves_the_rest_of_its_section() -> None:
    fields: Sections = {"deployment": {"num_replicas": 2, "cpu_per_replica": 0.5}, "model": {"size": "base"}}
    assert changed(fields, {"deployment": {"num_replicas": 1}}) == {
        "deployment": {"num_replicas": 1, "cpu_per_replica": 0.5},
        "model": {"size": "base"},
    }
