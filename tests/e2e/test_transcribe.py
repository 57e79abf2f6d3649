"""The main job: `make run`, then real speech over HTTP, and its words."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from loadtest.common import speech
from loadtest.common.wer import wer
from tests.support.service import Running

FIELDS = {"success", "text", "latency", "word_count", "gpu_memory", "error"}
FORMATS = [clip.path for clip in speech.manifest() if clip.part == "formats"]
INVALID = sorted((speech.shared("invalid") or Path("nowhere")).glob("*.*"))
NO_SHARED = "no folder of shared recordings beside the repository"


def post(client: httpx.Client, path: Path, **fields: str) -> httpx.Response:
    with path.open("rb") as file:
        return client.post("/transcribe", files={"audio_file": (path.name, file)}, data=fields)


def transcribed(service: Running, paths: list[Path], **fields: str) -> list[str]:
    """The words of each recording, eight requests at a time."""
    with service.client() as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda path: post(client, path, **fields), paths))
    assert [answer.status_code for answer in answers] == [200] * len(paths)
    return [answer.json()["text"] for answer in answers]


def test_the_clips_of_the_registry_are_transcribed_to_their_words(service: Running) -> None:
    clips = speech.clips()
    texts = transcribed(service, [clip.path for clip in clips])
    assert wer([clip.text for clip in clips], texts) < 0.2  # names such as Kaliko are beyond base


def test_the_answer_has_the_native_fields(service: Running) -> None:
    with service.client() as client:
        answer = post(client, speech.jfk())
    body = answer.json()
    assert set(body) == FIELDS
    assert body["success"] is True
    assert body["word_count"] == len(body["text"].split()) == 22
    assert float(answer.headers["x-audio-seconds"]) == pytest.approx(11, abs=0.1)
    assert float(answer.headers["x-inference-ms"]) <= body["latency"] * 1000


def test_a_recording_of_minutes_is_transcribed_to_its_end(service: Running) -> None:
    text = transcribed(service, [speech.recording("physicsworks.wav")])[0].lower()
    assert "conservation of mechanical energy" in text
    assert "physics works" in text
    assert len(text.split()) > 300


def test_silence_is_a_valid_empty_transcript(service: Running, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "silence.wav", [0.0] * 160_000, 16_000)
    with service.client() as client:
        body = post(client, tmp_path / "silence.wav").json()
    assert (body["success"], body["text"], body["word_count"]) == (True, "", 0)


@pytest.mark.skipif(not FORMATS, reason=NO_SHARED)
def test_every_container_and_codec_gives_the_same_sentence(service: Running) -> None:
    clip = speech.clips()[0]
    texts = transcribed(service, FORMATS)
    # In the band of a telephone base writes "America asked" for "Americans, ask": 3 words of 22.
    wrong = {p.name: t for p, t in zip(FORMATS, texts, strict=True) if wer([clip.text], [t]) > 0.14}
    assert not wrong


@pytest.mark.skipif(not INVALID, reason=NO_SHARED)
@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_a_broken_file_is_the_caller_s_mistake(service: Running, path: Path) -> None:
    with service.client(timeout_s=30) as client:
        answer = post(client, path)
    body = answer.json()
    assert 400 <= answer.status_code < 500
    assert set(body) == FIELDS
    assert (body["success"], body["text"]) == (False, "")
    assert " " in body["error"]


@pytest.mark.skipif(not speech.manifest(), reason=NO_SHARED)
def test_the_word_error_rate_on_librispeech_test_clean_is_at_most_six_percent(
    service: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [clip for clip in speech.manifest() if clip.part == "librispeech-test-clean"]
    texts = transcribed(service, [clip.path for clip in clips], language="en")
    rate = wer([clip.text for clip in clips], texts)
    with capsys.disabled():
        print(f"\nWER over {len(clips)} clips of LibriSpeech test-clean, through the service: {rate:.2%}")
    assert rate <= 0.06
