import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import fake_config, fake_infer, wav
from whisper_serve.errors import BadAudio, ModelFailed, TooLarge
from whisper_serve.transcription.transcriber import Transcriber, collect
from whisper_serve.types import Options, Segment, Window, WindowResult

pytestmark = pytest.mark.anyio


class Log:
    """An `infer` that keeps what it was asked, and how many windows were with it at once."""

    def __init__(self, *answers: WindowResult) -> None:
        self.answers = list(answers)
        self.windows: list[Window] = []
        self.at_once = self.most_at_once = 0
        self.cancelled = 0

    async def __call__(self, window: Window) -> WindowResult:
        self.windows.append(window)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            return self.answers.pop(0) if self.answers else await fake_infer(window)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1


def heard(text: str, **figures: Any) -> WindowResult:
    return WindowResult((Segment(0.0, 1.0, text, **figures),), "en")


async def test_a_long_recording_is_heard_in_windows_and_told_in_order() -> None:
    infer = Log()
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(70), Options(language="en"))
    assert len(infer.windows) == transcript.windows >= 3
    assert all(w.seconds <= 30 for w in infer.windows)
    starts = [s.start for s in transcript.segments]
    assert starts == sorted(starts)
    assert transcript.segments[-1].end == pytest.approx(70)
    assert transcript.duration == pytest.approx(70)


async def test_windows_of_one_request_go_out_at_once_up_to_the_bound() -> None:
    infer = Log()
    config = fake_config(server={"max_parallel_windows": 2})
    await Transcriber(config, infer).transcribe(wav(130), Options(language="en"))
    assert infer.most_at_once == 2


async def test_without_use_parallel_windows_go_one_at_a_time() -> None:
    infer = Log()
    await Transcriber(fake_config(), infer).transcribe(wav(100), Options(language="en", use_parallel=False))
    assert infer.most_at_once == 1


async def test_the_language_is_detected_once_and_the_rest_is_told() -> None:
    infer = Log(replace(heard(" hej"), language="sv", language_probability=0.9))
    options = Options(use_parallel=False)
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(100), options)
    assert [w.options.language for w in infer.windows] == [None] + ["sv"] * (transcript.windows - 1)
    assert (transcript.language, transcript.language_probability) == ("sv", 0.9)


async def test_the_language_is_that_of_the_first_window_whose_words_are_kept() -> None:
    noise = replace(heard(" ♪♪♪"), language="ja", language_probability=0.3)
    words = replace(heard(" hej"), language="sv", language_probability=0.9)
    infer = Log(noise, words)
    config = fake_config(quality={"filters": ["alphanumeric"]})
    transcript = await Transcriber(config, infer).transcribe(wav(100), Options(use_parallel=False))
    assert [w.options.language for w in infer.windows] == [None, None] + ["sv"] * (transcript.windows - 2)
    assert (transcript.language, transcript.language_probability) == ("sv", 0.9)


async def test_windows_begun_before_the_language_was_known_are_heard_again_where_they_found_another() -> None:
    answers = [replace(heard(f" {i}"), language=code) for i, code in enumerate(("sv", "no", "sv"))]
    infer = Log(*answers)
    config = fake_config(server={"max_parallel_windows": 3})
    transcript = await Transcriber(config, infer).transcribe(wav(80), Options())
    first, second, third = infer.windows[:3]
    assert [w.options.language for w in infer.windows[:3]] == [None, None, None]
    assert [w.start for w in infer.windows[3:] if w.start in (first.start, third.start)] == []
    assert [w.options.language for w in infer.windows[3:] if w.start == second.start] == ["sv"]
    assert transcript.language == "sv"


async def test_a_warmer_try_leaves_the_language_as_sure_as_it_was() -> None:
    first = replace(heard(" la la", compression_ratio=3.0), language="it", language_probability=0.4)
    infer = Log(first, replace(heard(" song"), language="it"))
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(2), Options())
    assert (transcript.text, transcript.language_probability) == ("song", 0.4)


async def test_text_that_repeats_itself_is_tried_warmer() -> None:
    infer = Log(heard(" la la", compression_ratio=3.0), heard(" la", avg_logprob=-2.0), heard(" song"))
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(2), Options())
    assert [w.options.temperature for w in infer.windows] == [0.0, 0.2, 0.4]
    assert transcript.text == "song"


async def test_where_every_try_looks_wrong_the_likeliest_without_a_loop_is_taken() -> None:
    tries = [heard(" la la", compression_ratio=3.0, avg_logprob=-0.1), heard(" sung", avg_logprob=-1.2)]
    tries += [heard(f" {i}", avg_logprob=-2.0) for i in range(4)]
    transcript = await Transcriber(fake_config(), Log(*tries)).transcribe(wav(2), Options())
    assert transcript.text == "sung"


async def test_unlikely_text_in_what_is_no_speech_is_not_tried_again() -> None:
    infer = Log(heard(" hm", avg_logprob=-2.0, no_speech_prob=0.9))
    await Transcriber(fake_config(), infer).transcribe(wav(2), Options())
    assert len(infer.windows) == 1


async def test_a_temperature_that_was_asked_for_is_kept() -> None:
    infer = Log(heard(" la la", compression_ratio=3.0))
    await Transcriber(fake_config(), infer).transcribe(wav(2), Options(temperature=0.3))
    assert [w.options.temperature for w in infer.windows] == [0.3]


async def test_streaming_and_waiting_say_and_drop_the_same() -> None:
    once = heard(" The very same long sentence, word for word, and once again.").segments[0]
    same = [WindowResult((once, replace(once, start=1.0, end=2.0)), "en") for _ in range(8)]
    config = fake_config(quality={"filters": ["repetition"]})
    waited = await Transcriber(config, Log(*same)).transcribe(wav(100), Options(language="en"))
    streamed = Transcriber(config, Log(*same))
    recording = await streamed.open(wav(100), Options(language="en"))
    steps = [step async for step in streamed.steps(recording)]
    assert "".join(s.text for step in steps for s in step.segments).strip() == waited.text
    assert collect(recording, steps).dropped == waited.dropped
    assert waited.dropped
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == 1.0


async def test_a_window_that_fails_names_its_seconds() -> None:
    with pytest.raises(ModelFailed, match=r"0\.0 to .* s could not be heard: asked to explode"):
        await Transcriber(fake_config(), fake_infer).transcribe(wav(5), Options(prompt="explode"))


async def test_a_partial_answer_names_its_holes() -> None:
    async def infer(window: Window) -> WindowResult:
        return await fake_infer(
            window if window.start == 0 else replace(window, options=Options(prompt="explode"))
        )

    options = Options(language="en", allow_partial=True)
    transcript = await Transcriber(fake_config(), infer).transcribe(wav(50), options)
    assert [gap.error for gap in transcript.gaps] == ["asked to explode"]
    assert transcript.success_rate == 0.5
    assert transcript.text.endswith("at 0.0, batch of 1.")


async def test_a_caller_who_leaves_takes_its_windows_along() -> None:
    infer = Log()
    transcriber = Transcriber(fake_config(), infer)
    recording = await transcriber.open(wav(200), Options(language="en"))
    steps = transcriber.steps(recording)
    await anext(steps)
    await steps.aclose()
    await asyncio.sleep(0)
    assert infer.at_once == 0


async def test_what_is_not_audio_is_said_before_anything_is_heard() -> None:
    infer = Log()
    with pytest.raises(BadAudio):
        await Transcriber(fake_config(), infer).open(b"not audio", Options())
    with pytest.raises(TooLarge, match="the limit is 10 s"):
        await Transcriber(fake_config(server={"max_audio_s": 10}), infer).open(wav(11), Options())
    assert not infer.windows


async def test_silence_is_an_empty_transcript_and_asks_the_model_nothing() -> None:
    infer = Log()
    config = fake_config(vad={"method": "silero"})
    transcript = await Transcriber(config, infer).transcribe(wav(3, level=0), Options())
    assert (transcript.text, transcript.segments, infer.windows) == ("", (), [])
    assert transcript.duration == pytest.approx(3)
