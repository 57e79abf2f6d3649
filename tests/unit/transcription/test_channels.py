"""Channels that are transcribed by themselves, and joined in order of time."""

import pytest

from tests.conftest import fake_config
from tests.support.channels import by_second, stereo
from whisper_serve.errors import ModelFailed
from whisper_serve.transcription.admission import Admission, Bounds
from whisper_serve.transcription.channels import TimeOrder
from whisper_serve.transcription.recording import collect
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import Options, Segment, Window, WindowResult

pytestmark = pytest.mark.anyio

SEPARATE = Options(language="en", channels="separate")


BOTH = stereo(70, lambda at: at < 65, lambda at: at > 4)


def segments(*starts: float) -> list[Segment]:
    return [Segment(start, start + 1, "") for start in starts]


def test_a_segment_waits_until_none_can_come_before_it() -> None:
    order = TimeOrder([0, 2, 9])
    assert [s.start for s in order.add(segments(0, 1, 5, 10))] == [0, 1]
    assert [s.start for s in order.add(segments(2, 4, 8))] == [2, 4, 5, 8]
    assert [s.start for s in order.add(segments(9, 11))] == [9, 10, 11]


async def test_every_segment_and_word_has_its_channel_in_order_of_time() -> None:
    transcript = await Transcriber(fake_config(), by_second).transcribe(BOTH, SEPARATE)
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)
    assert {segment.channel for segment in transcript.segments} == {1, 2}
    for segment in transcript.segments:
        assert segment.text.startswith(f" {segment.channel}:")
        assert [word.channel for word in segment.words] == [segment.channel]
    assert transcript.duration == pytest.approx(70)
    assert transcript.warnings == ()


async def test_what_a_stream_hands_out_is_the_transcript_and_its_share_only_grows() -> None:
    transcriber = Transcriber(fake_config(), by_second)
    recording = await transcriber.open(BOTH, SEPARATE)
    steps = [step async for step in transcriber.steps(recording)]
    assert tuple(s for step in steps for s in step.segments) == collect(recording, steps).segments
    shares = [step.done for step in steps]
    assert shares == sorted(shares)
    assert sum(bool(step.segments) for step in steps) > 3


async def test_each_channel_has_its_own_language() -> None:
    async def infer(window: Window) -> WindowResult:
        language = window.options.language or {1: "de", 2: "en"}[window.channel or 0]
        return WindowResult((await by_second(window)).segments, language)

    transcript = await Transcriber(fake_config(), infer).transcribe(BOTH, Options(channels="separate"))
    assert transcript.language == "de"
    asked = []

    async def recorded(window: Window) -> WindowResult:
        asked.append((window.channel, window.options.language))
        return await infer(window)

    options = Options(channels="separate", use_parallel=False)
    await Transcriber(fake_config(), recorded).transcribe(BOTH, options)
    assert set(asked) == {(1, None), (2, None), (1, "de"), (2, "en")}


async def test_the_language_is_not_that_of_a_window_without_words_that_others_waited_for() -> None:
    async def infer(window: Window) -> WindowResult:
        if window.channel == 1:
            return WindowResult((Segment(15, 16, " words"),), "en")
        return WindowResult((Segment(0, 1, " ♪"),), "ja")

    config = fake_config(quality={"filters": ["alphanumeric"]})
    data = stereo(20, lambda at: True, lambda at: at > 10)
    transcript = await Transcriber(config, infer).transcribe(data, Options(channels="separate"))
    assert (transcript.text, transcript.language) == ("words", "en")


async def test_the_queue_the_memory_and_the_quota_count_the_audio_of_all_channels() -> None:
    admission = Admission(Bounds(quotas_s={"": 1000.0}))
    held = []

    async def infer(window: Window) -> WindowResult:
        held.append(admission.buffered_s)
        return await by_second(window)

    transcriber = Transcriber(fake_config(), infer, admission)
    await transcriber.transcribe(BOTH, SEPARATE)
    assert held[0] == pytest.approx(140)
    assert await admission.usage.take_audio("", 0, 1000) == pytest.approx(1000 - 140)
    assert admission.buffered_s == admission.queued_s == 0


async def test_a_single_channel_is_channel_one_and_the_caller_is_told() -> None:
    transcriber = Transcriber(fake_config(), by_second)
    for data in (stereo(5, lambda at: True), stereo(5, lambda at: True, lambda at: True)):
        transcript = await transcriber.transcribe(data, SEPARATE)
        assert {segment.channel for segment in transcript.segments} == {1}
        assert transcript.windows == 1
        assert "transcribed once" in transcript.warnings[0]


async def test_two_channels_of_a_call_are_two_speakers() -> None:
    data = stereo(20, lambda at: at % 4 < 2, lambda at: at % 4 >= 2)
    options = Options(channels="speakers")
    transcript = await Transcriber(fake_config(), by_second).transcribe(data, options)
    speakers = {(segment.channel, segment.speaker) for segment in transcript.segments}
    assert speakers == {(1, "SPEAKER_00"), (2, "SPEAKER_01")}
    assert all(word.speaker == segment.speaker for segment in transcript.segments for word in segment.words)
    assert transcript.warnings == ()


async def test_without_a_channel_for_each_there_is_one_speaker_and_the_caller_is_told() -> None:
    options = Options(channels="speakers")
    transcript = await Transcriber(fake_config(), by_second).transcribe(stereo(5, lambda at: True), options)
    assert {(segment.channel, segment.speaker) for segment in transcript.segments} == {(None, "SPEAKER_00")}
    assert "all is SPEAKER_00" in transcript.warnings[0]


async def test_a_gap_names_its_channel() -> None:
    async def infer(window: Window) -> WindowResult:
        if window.channel == 2:
            raise ModelFailed("broke")
        return await by_second(window)

    options = Options(language="en", channels="separate", allow_partial=True)
    transcript = await Transcriber(fake_config(), infer).transcribe(BOTH, options)
    assert {gap.channel for gap in transcript.gaps} == {2}
    assert {segment.channel for segment in transcript.segments} == {1}
