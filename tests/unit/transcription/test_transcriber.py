import asyncio
import io
import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import fake_config, fake_infer, wav
from whisper_serve.audio.decode import DecodeOptions
from whisper_serve.audio.decode_workers import Cancellation
from whisper_serve.audio.source import Source
from whisper_serve.errors import BadAudio, ModelFailed, TimedOut, TooLarge
from whisper_serve.transcription.admission import Admission, Bounds, Reservation
from whisper_serve.transcription.recording import Recording, Step, collect
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import SAMPLE_RATE, Audio, Options, Segment, Timings, Window, WindowResult

pytestmark = pytest.mark.anyio


class Recorded:
    """An `infer` that returns the given results, then the fake engine's, and records its calls."""

    def __init__(self, *results: WindowResult) -> None:
        self.results = list(results)
        self.windows: list[Window] = []
        self.in_flight = self.most_in_flight = 0
        self.cancelled = 0

    async def __call__(self, window: Window) -> WindowResult:
        self.windows.append(window)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            return self.results.pop(0) if self.results else await fake_infer(window)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1


class Scripted:
    """An `infer` whose results the test sets, when it wants to; every call is put into `calls`."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[Window, asyncio.Future[WindowResult]]] = asyncio.Queue()

    async def __call__(self, window: Window) -> WindowResult:
        future: asyncio.Future[WindowResult] = asyncio.get_running_loop().create_future()
        self.calls.put_nowait((window, future))
        return await future

    async def called(self) -> tuple[Window, "asyncio.Future[WindowResult]"]:
        return await asyncio.wait_for(self.calls.get(), 5)


def result(text: str, **figures: Any) -> WindowResult:
    return WindowResult((Segment(0.0, 1.0, text, **figures),), "en")


def pcm(seconds: float) -> bytes:
    """Silence without a header."""
    return bytes(2 * round(seconds * SAMPLE_RATE))


def recording(*lengths: float, **options: Any) -> Recording:
    """Decoded and split into windows of so many seconds, one after another."""
    silence = np.zeros(round(max(lengths, default=0) * SAMPLE_RATE), np.float32)
    asked = replace(Options("en"), **options)
    windows = tuple(
        Window(silence[: round(seconds * SAMPLE_RATE)], sum(lengths[:i]), asked)
        for i, seconds in enumerate(lengths)
    )
    samples = sum(len(window.samples) for window in windows)
    return Recording(windows, samples / SAMPLE_RATE, asked, decode_s=0.25)


async def test_a_long_recording_is_transcribed_in_windows_and_its_segments_are_in_order() -> None:
    infer = Recorded()
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(70), Options(language="en"))
    assert len(infer.windows) == transcript.windows >= 3
    assert all(w.seconds <= 30 for w in infer.windows)
    starts = [s.start for s in transcript.segments]
    assert starts == sorted(starts)
    assert transcript.segments[-1].end == pytest.approx(70)
    assert transcript.duration == pytest.approx(70)


async def test_windows_of_one_request_are_in_flight_at_once_up_to_the_bound() -> None:
    infer = Recorded()
    config = fake_config(server={"max_parallel_windows": 2})
    await Transcriber(config, infer).transcribe(wav(130), Options(language="en"))
    assert infer.most_in_flight == 2


async def test_without_use_parallel_one_window_is_in_flight_at_a_time() -> None:
    infer = Recorded()
    await Transcriber(fake_config(), infer).transcribe(wav(100), Options(language="en", use_parallel=False))
    assert infer.most_in_flight == 1


async def test_the_language_is_detected_once_and_given_to_later_windows() -> None:
    infer = Recorded(replace(result(" hej"), language="sv", language_probability=0.9))
    options = Options(use_parallel=False)
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(100), options)
    assert [w.options.language for w in infer.windows] == [None] + ["sv"] * (transcript.windows - 1)
    assert (transcript.language, transcript.language_probability) == ("sv", 0.9)


async def test_the_language_is_that_of_the_first_window_whose_words_are_kept() -> None:
    noise = replace(result(" ♪♪♪"), language="ja", language_probability=0.3)
    words = replace(result(" hej"), language="sv", language_probability=0.9)
    infer = Recorded(noise, words)
    config = fake_config(quality={"filters": ["alphanumeric"]})
    transcript = await Transcriber(config, infer).transcribe(wav(100), Options(use_parallel=False))
    assert [w.options.language for w in infer.windows] == [None, None] + ["sv"] * (transcript.windows - 2)
    assert (transcript.language, transcript.language_probability) == ("sv", 0.9)


async def test_windows_begun_before_the_language_was_known_are_transcribed_again_where_they_found_another() -> (
    None
):
    results = [replace(result(f" {i}"), language=code) for i, code in enumerate(("sv", "no", "sv"))]
    infer = Recorded(*results)
    config = fake_config(server={"max_parallel_windows": 3})
    transcript = await Transcriber(config, infer).transcribe(wav(80), Options())
    first, second, third = infer.windows[:3]
    assert [w.options.language for w in infer.windows[:3]] == [None, None, None]
    assert [w.start for w in infer.windows[3:] if w.start in (first.start, third.start)] == []
    assert [w.options.language for w in infer.windows[3:] if w.start == second.start] == ["sv"]
    assert transcript.language == "sv"


async def test_further_windows_start_while_one_is_transcribed_again_for_its_language() -> None:
    infer = Scripted()
    transcriber = Transcriber(fake_config(server={"max_parallel_windows": 2}), infer)
    transcribing = asyncio.create_task(transcriber.transcribe(wav(130), Options()))
    (_, first), (second, detected) = await infer.called(), await infer.called()
    first.set_result(replace(result(" 1"), language="sv"))
    detected.set_result(replace(result(" 2"), language="no"))
    (repeated, again), (third, third_result) = await infer.called(), await infer.called()
    assert (repeated.start, repeated.options.language) == (second.start, "sv")
    third_result.set_result(replace(result(" 3"), language="sv"))
    fourth, fourth_result = await infer.called()
    assert not again.done()
    assert second.start < third.start < fourth.start
    assert third.options.language == fourth.options.language == "sv"
    again.set_result(replace(result(" two"), language="sv"))
    fourth_result.set_result(replace(result(" 4"), language="sv"))
    (await infer.called())[1].set_result(replace(result(" 5"), language="sv"))
    assert (await transcribing).text == "1 two 3 4 5"


async def test_all_windows_of_another_language_are_transcribed_again_at_once() -> None:
    infer = Scripted()
    transcriber = Transcriber(fake_config(server={"max_parallel_windows": 3}), infer)
    transcribing = asyncio.create_task(transcriber.transcribe(wav(80), Options()))
    calls = [await infer.called() for _ in range(3)]
    for (_, future), language in zip(calls, ("sv", "no", "da"), strict=True):
        future.set_result(replace(result(f" {language}"), language=language))
    again = [await infer.called() for _ in range(2)]
    assert [w.start for w, _ in again] == [w.start for w, _ in calls[1:]]
    for _, future in again:
        future.set_result(replace(result(" sv"), language="sv"))
    assert (await transcribing).text == "sv sv sv"


async def test_a_recording_whose_time_is_up_ends_with_an_error_and_its_windows_are_cancelled() -> None:
    infer = Scripted()
    transcriber = Transcriber(fake_config(), infer)
    recording = await transcriber.open(wav(70), Options())
    with pytest.raises(TimedOut):
        await anext(transcriber.steps(replace(recording, until=time.monotonic() + 0.1)))
    calls = [infer.calls.get_nowait() for _ in range(infer.calls.qsize())]
    assert calls
    assert all(future.cancelled() for _, future in calls)


async def test_a_flac_file_counts_in_the_queue_with_the_length_of_its_header() -> None:
    noise, file = np.random.default_rng(0).uniform(-0.5, 0.5, 8 * 48_000), io.BytesIO()
    soundfile.write(file, noise, 48_000, format="FLAC")  # as large as 20 s of a WAV at 16 kHz
    admission = Admission(Bounds(queued_s=10))
    Reservation(admission, "another").reserve(1)
    transcript = await Transcriber(fake_config(), fake_infer, admission).transcribe(
        file.getvalue(), Options()
    )
    assert transcript.duration == 8


async def test_repetitive_text_is_transcribed_again_at_higher_temperatures() -> None:
    infer = Recorded(
        result(" la la", compression_ratio=3.0), result(" la", avg_logprob=-2.0), result(" song")
    )
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(2), Options())
    assert [w.options.temperature for w in infer.windows] == [0.0, 0.2, 0.4]
    assert transcript.text == "song"


async def test_no_more_than_two_temperatures_are_tried_where_another_language_is_surely_spoken() -> None:
    repetitive = result(" la la", compression_ratio=3.0)
    infer = Recorded(repetitive, replace(repetitive, spoken_language="de", spoken_probability=0.97))
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(2), Options(language="en"))
    assert [(w.options.temperature, w.check_language) for w in infer.windows] == [(0.0, False), (0.2, True)]
    assert transcript.language == "en"
    (warning,) = transcript.warnings
    assert "given as English, but German is spoken" in warning


async def test_the_language_is_checked_once_and_where_it_is_right_all_temperatures_are_tried() -> None:
    repetitive = result(" la la", compression_ratio=3.0)
    unsure = replace(repetitive, spoken_language="de", spoken_probability=0.4)
    infer = Recorded(repetitive, unsure, *[repetitive] * 4)
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(2), Options(language="en"))
    assert [w.check_language for w in infer.windows] == [False, True, False, False, False, False]
    assert transcript.warnings == ()


async def test_a_language_that_was_detected_in_the_window_itself_is_not_checked() -> None:
    repetitive = result(" la la", compression_ratio=3.0)
    infer = Recorded(repetitive, result(" song"))
    await Transcriber(fake_config(), infer).transcribe(wav(2), Options())
    assert not any(w.check_language for w in infer.windows)


async def test_with_multilingual_each_window_has_its_own_language_and_its_segments_name_it() -> None:
    infer = Recorded(*(replace(result(f" {code}"), language=code) for code in ("sv", "no", "sv")))
    options = Options(multilingual=True, use_parallel=False)
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(80), options)
    assert [w.options.language for w in infer.windows] == [None] * len(infer.windows)
    assert [s.language for s in transcript.segments][:3] == ["sv", "no", "sv"]
    assert transcript.language == "sv"


async def test_a_streamed_and_a_complete_answer_have_and_drop_the_same_segments() -> None:
    once = result(" The very same long sentence, word for word, and once again.").segments[0]
    same = [WindowResult((once, replace(once, start=1.0, end=2.0)), "en") for _ in range(8)]
    config = fake_config(quality={"filters": ["repetition"]})
    complete = await Transcriber(config, Recorded(*same)).transcribe(wav(100), Options(language="en"))
    streamed = Transcriber(config, Recorded(*same))
    recording = await streamed.open(wav(100), Options(language="en"))
    steps = [step async for step in streamed.steps(recording)]
    assert "".join(s.text for step in steps for s in step.segments).strip() == complete.text
    assert collect(recording, steps).dropped == complete.dropped
    assert complete.dropped
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == 1.0


async def test_the_error_of_a_failed_window_names_its_seconds() -> None:
    with pytest.raises(ModelFailed, match=r"0\.0 to .* s could not be transcribed: asked to explode"):
        await Transcriber(fake_config(), fake_infer).transcribe(wav(5), Options(prompt="explode"))


async def test_a_gap_ends_where_its_window_does() -> None:
    later = recording(5, 7, allow_partial=True, prompt="explode")
    steps = [step async for step in Transcriber(fake_config(), fake_infer).steps(later)]
    assert [(step.gap.start, step.gap.end) for step in steps if step.gap] == [(0, 5), (5, 12)]
    assert [(step.done, step.queue_s) for step in steps] == [(5 / 12, 0), (1, 0)]
    with pytest.raises(ModelFailed, match=r"^0\.0 to 5\.0 s could not"):
        await anext(Transcriber(fake_config(), fake_infer).steps(recording(5, 7, prompt="explode")))


async def test_a_partial_answer_names_its_gaps() -> None:
    async def infer(window: Window) -> WindowResult:
        return await fake_infer(
            window if window.start == 0 else replace(window, options=Options(prompt="explode"))
        )

    options = Options(language="en", allow_partial=True)
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(50), options)
    assert [gap.error for gap in transcript.gaps] == ["asked to explode"]
    assert transcript.success_rate == 0.5
    assert transcript.text.endswith("at 0.0, batch of 1.")


async def test_a_segment_is_compared_with_the_one_before_it_in_its_window() -> None:
    first, second = (
        "The first of two long sentences, of many words.",
        "And then the other one, which has about as many words as it.",
    )
    texts = [first, second, second]
    segments = tuple(Segment(float(i), i + 1.0, text) for i, text in enumerate(texts))
    config = fake_config(quality={"filters": ["repetition"]})
    infer = Recorded(WindowResult(segments, "en"))
    (step,) = [step async for step in Transcriber(config, infer).steps(recording(5))]
    assert [segment.text for segment in step.segments] == [first, second]
    assert [(one.segment.start, one.reason) for one in step.dropped] == [(2, "repetition")]


async def test_the_wait_for_a_replica_is_what_the_inference_did_not_take() -> None:
    fast, slow = result(" fast"), replace(result(" slow"), batch_inference_s=60.0)
    steps = [step async for step in Transcriber(fake_config(), Recorded(fast, slow)).steps(recording(5, 5))]
    assert 0 < steps[0].queue_s < 1
    assert steps[1].queue_s == 0


async def test_no_more_than_all_of_a_recording_is_ever_done() -> None:
    ends_late = recording(12 / SAMPLE_RATE, 160 / SAMPLE_RATE)  # by a rounding error
    last = ends_late.windows[-1]
    assert last.start + last.seconds > ends_late.duration
    steps = [step async for step in Transcriber(fake_config(), Recorded()).steps(ends_late)]
    assert steps[-1].done == 1


def test_the_figures_of_a_transcript_are_those_of_its_windows_and_0_without_any() -> None:
    whole = recording(5, 7)
    figures = [
        replace(result(" a"), batch_windows=n, batch_audio_s=s, inference_s=s) for n, s in ((2, 9), (4, 6))
    ]
    steps = [Step(w, r, queue_s=s) for w, r, s in zip(whole.windows, figures, (1.5, 0.5), strict=True)]
    assert collect(whole, steps).timings == Timings(0.25, 1.5, 15, 3, 7.5)
    nothing = collect(recording(), [])
    assert nothing.timings == Timings(0.25, 0, 0, 0, 0)
    assert (nothing.language, nothing.language_probability, nothing.text) == ("en", 0, "")


async def test_the_language_is_detected_in_the_first_window() -> None:
    infer = Recorded()
    found = await Transcriber(fake_config(), infer).detect(pcm(70), Options(headerless=True))
    assert [window.start for window in infer.windows] == [0]
    assert found


@pytest.mark.parametrize(("level", "lines"), [(logging.DEBUG, 1), (logging.INFO, 0)])
async def test_where_speech_was_found_is_logged_for_those_who_look_for_faults(
    caplog: pytest.LogCaptureFixture, level: int, lines: int
) -> None:
    with caplog.at_level(level, "whisper_serve.transcription.transcriber"):
        opened = await Transcriber(fake_config(), Recorded()).open(pcm(70), Options(headerless=True))
    found = [(round(w.start, 2), round(w.start + w.seconds, 2)) for w in opened.windows]
    assert found[-1][1] == 70
    assert [vars(record)["windows"] for record in caplog.records] == [found] * lines


async def test_silence_has_no_language_and_is_decoded_in_its_time() -> None:
    infer = Recorded()
    silent = Transcriber(fake_config(vad={"method": "silero"}), infer)
    assert await silent.detect(pcm(0.1), Options(headerless=True)) is None
    assert infer.windows == []
    assert 0 < (await silent.open(pcm(0.1), Options(headerless=True))).decode_s < 5


@pytest.mark.parametrize(("use_parallel", "queued_s"), [(True, 60), (False, 30)])
async def test_of_a_long_recording_as_much_is_queued_as_can_be_transcribed_at_once(
    use_parallel: bool, queued_s: float
) -> None:
    transcriber = Transcriber(fake_config(server={"max_parallel_windows": 2}), fake_infer)
    options = Options(headerless=True, use_parallel=use_parallel)
    async with transcriber.admitted(pcm(100), options, "") as admitted:
        assert transcriber.admission.queued_s == queued_s
        assert transcriber.admission.buffered_s == admitted.duration == 100
    assert transcriber.admission.queued_s == transcriber.admission.buffered_s == 0


async def test_windows_of_a_caller_who_leaves_are_cancelled() -> None:
    infer = Recorded()
    transcriber = Transcriber(fake_config(), infer)
    recording = await transcriber.open(wav(200), Options(language="en"))
    steps = transcriber.steps(recording)
    await anext(steps)
    await steps.aclose()
    await asyncio.sleep(0)
    assert infer.in_flight == 0


async def test_a_recording_is_no_longer_decoded_when_its_caller_leaves() -> None:
    begun, stopped = threading.Event(), threading.Event()

    def decode(source: Source, options: DecodeOptions, caller: Cancellation) -> tuple[Audio, ...]:
        with caller.calling(stopped.set):
            begun.set()
            assert stopped.wait(10)
        raise BadAudio("nobody is told")

    transcriber = Transcriber(fake_config(), Recorded(), decode=decode)
    request = asyncio.create_task(transcriber.transcribe(wav(1), Options()))
    assert await asyncio.to_thread(begun.wait, 10)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert stopped.is_set()


async def test_a_recording_in_a_file_is_transcribed_like_one_in_memory(tmp_path: Path) -> None:
    path, transcriber = tmp_path / "recording", Transcriber(fake_config(), Recorded())
    path.write_bytes(wav(3))
    with path.open("rb") as file:
        transcript = await transcriber.transcribe(file, Options())
    assert transcript.text == (await transcriber.transcribe(wav(3), Options())).text


async def test_what_is_not_audio_or_too_long_is_refused_before_the_model_is_asked() -> None:
    infer = Recorded()
    with pytest.raises(BadAudio):
        await Transcriber(fake_config(), infer).open(b"not audio", Options())
    with pytest.raises(TooLarge, match="the limit is 10 s"):
        await Transcriber(fake_config(server={"max_audio_s": 10}), infer).open(wav(11), Options())
    assert not infer.windows


async def test_silence_is_an_empty_transcript_without_a_call_of_the_model() -> None:
    infer = Recorded()
    config = fake_config(vad={"method": "silero"})
    transcript = await Transcriber(config, infer).transcribe(wav(3, level=0), Options())
    assert (transcript.text, transcript.segments, infer.windows) == ("", (), [])
    assert transcript.duration == pytest.approx(3)
