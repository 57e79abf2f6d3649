"""The load test's judge: words, dialects, verdicts."""

import json
from pathlib import Path

import pytest

from loadtest.common.clips import Clip
from loadtest.common.protocols import PROTOCOLS, BadAnswer, body_of, read_events, read_json, read_native
from loadtest.common.wer import text_wer
from loadtest.load.answers import Answer, judged
from loadtest.load.samples import Sample

CLIP = Clip(Path("/speech/jfk.flac"), "And so, my fellow Americans", 11.0)


@pytest.mark.parametrize(
    ("reference", "text", "rate"),
    [
        ("a b c d", "a b c d", 0.0),
        ("A, b. C-d!", "a b c d", 0.0),
        ("don't", "Don\u2019t", 0.0),
        ("a b c d", "a x c d", 0.25),
        ("a b c d", "a c d", 0.25),
        ("a b c d", "a b b c d", 0.25),
        ("a b c d", "", 1.0),
        ("a", "a b c d", 3.0),
        ("", "", 0.0),
        ("", "a", 1.0),
        ("a b c d e", "b c d e a", 0.4),
    ],
)
def test_word_error_rate_counts_edits_per_word_of_the_reference(
    reference: str, text: str, rate: float
) -> None:
    assert text_wer(reference, text) == pytest.approx(rate)


def answer(
    status: int = 200, text: str = CLIP.text, headers: dict[str, str] | None = None, failure: str = ""
) -> Answer:
    body = json.dumps({"success": True, "text": text, "error": None}).encode()
    return Answer(status, headers or {}, body, started=1.0, latency_s=0.5, failure=failure)


def judge(given: Answer) -> Sample:
    return judged(given, PROTOCOLS["transcribe"], CLIP, max_wer=0.35)


def test_the_clips_own_words_are_right_and_carry_the_services_timings() -> None:
    sample = judge(answer(headers={"x-decode-ms": "12.5", "x-queue-ms": "1000", "x-inference-ms": "250"}))
    assert sample.outcome == "ok"
    assert (sample.decode_s, sample.queue_s, sample.inference_s) == (0.0125, 1.0, 0.25)
    assert sample.ended == 1.5


def test_other_words_are_wrong_though_the_status_is_200() -> None:
    sample = judge(answer(text="thanks for watching"))
    assert sample.outcome == "wrong"
    assert "thanks for watching" in sample.detail


def test_a_refusal_is_no_error_and_has_its_retry_after() -> None:
    sample = judge(answer(status=429, headers={"retry-after": "7"}))
    assert (sample.outcome, sample.retry_after_s) == ("refused", 7.0)


def test_a_refusal_without_a_readable_wait_is_still_a_refusal() -> None:
    assert judge(answer(status=429, headers={"retry-after": "soon"})).retry_after_s is None


@pytest.mark.parametrize("given", [answer(status=500), answer(status=0), answer(failure="connection closed")])
def test_a_broken_answer_is_an_error(given: Answer) -> None:
    assert judge(given).outcome == "error"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"success": false, "text": "a", "error": "no"}',
        b'{"success": true, "text": null}',
    ],
)
def test_a_seed_answer_without_success_and_text_is_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_native(body)


def test_openai_and_asr_answers_are_read_by_their_text() -> None:
    assert read_json(b'{"text": "a b", "usage": {}}') == "a b"


def events(*frames: dict[str, object]) -> bytes:
    return b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)


def delta(text: str) -> dict[str, object]:
    return {"type": "transcript.text.delta", "delta": text}


def done(text: str) -> dict[str, object]:
    return {"type": "transcript.text.done", "text": text}


def test_a_streams_text_is_its_deltas_joined() -> None:
    assert read_events(events(delta("a"), delta(" b"), done("a b"))) == "a b"


def test_a_stream_whose_events_have_names_is_read_too() -> None:
    named = events(delta("a")).replace(b"data:", b"event: transcript.text.delta\ndata:", 1)
    assert read_events(named + events(done("a"))) == "a"


@pytest.mark.parametrize(
    "body",
    [
        events(delta("a")),
        events(delta("a"), done("b")),
        events({"error": {"message": "broke"}}),
        events(delta("a"), done("a")) + b"data: [DONE]\n\n",
    ],
)
def test_a_stream_that_breaks_its_promise_is_an_error(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_events(body)


def test_the_body_holds_the_clip_and_the_dialects_fields(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("clips") / "a.wav"
    path.write_bytes(b"RIFFsound")
    body = body_of(PROTOCOLS["sse"], Clip(path, "", 1.0))
    assert body.content_type.startswith("multipart/form-data; boundary=")
    for part in (
        b'name="stream"\r\n\r\ntrue',
        b'name="model"',
        b'name="file"; filename="a.wav"',
        b"RIFFsound",
    ):
        assert part in body.data
