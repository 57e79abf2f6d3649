import asyncio
import io
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import fake_config, fake_infer, wav
from whisper_serve.errors import BadAudio, ModelFailed, TimedOut, TooLarge
from whisper_serve.transcription.admission import Admission, Bounds, Reservation
from whisper_serve.transcription.transcriber import Transcriber, collect
from whisper_serve.types import Options, Segment, Window, WindowResult

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


async def test_an_attempt_at_a_higher_temperature_leaves_the_language_probability_as_it_was() -> None:
    first = replace(result(" la la", compression_ratio=3.0), language="it", language_probability=0.4)
    infer = Recorded(first, replace(result(" song"), language="it"))
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(2), Options())
    assert (transcript.text, transcript.language_probability) == ("song", 0.4)


async def test_repetitive_text_is_transcribed_again_at_higher_temperatures() -> None:
    infer = Recorded(
        result(" la la", compression_ratio=3.0), result(" la", avg_logprob=-2.0), result(" song")
    )
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(2), Options())
    assert [w.options.temperature for w in infer.windows] == [0.0, 0.2, 0.4]
    assert transcript.text == "song"


async def test_where_every_attempt_needs_a_fallback_the_likeliest_that_is_not_repetitive_is_taken() -> None:
    attempts = [result(" la la", compression_ratio=3.0, avg_logprob=-0.1), result(" sung", avg_logprob=-1.2)]
    attempts += [result(f" {i}", avg_logprob=-2.0) for i in range(4)]
    transcript = await Transcriber(fake_config(), Recorded(*attempts)).transcribe(wav(2), Options())
    assert transcript.text == "sung"


async def test_unlikely_text_where_there_is_no_speech_is_not_transcribed_again() -> None:
    infer = Recorded(result(" hm", avg_logprob=-2.0, no_speech_prob=0.9))
    await Transcriber(fake_config(), infer).transcribe(wav(2), Options())
    assert len(infer.windows) == 1


async def test_a_temperature_that_was_asked_for_is_kept() -> None:
    infer = Recorded(result(" la la", compression_ratio=3.0))
    await Transcriber(fake_config(), infer).transcribe(wav(2), Options(temperature=0.3))
    assert [w.options.temperature for w in infer.windows] == [0.3]


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


async def test_windows_of_a_caller_who_leaves_are_cancelled() -> None:
    infer = Recorded()
    transcriber = Transcriber(fake_config(), infer)
    recording = await transcriber.open(wav(200), Options(language="en"))
    steps = transcriber.steps(recording)
    await anext(steps)
    await steps.aclose()
    await asyncio.sleep(0)
    assert infer.in_flight == 0


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
