from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import soundfile

from loadtest.common.speech import shared
from whisper_serve.audio.silero import FRAME, Scores
from whisper_serve.audio.vad import METHODS, Span, SpeechSegmenter, everything, score, speech, split, windows
from whisper_serve.types import SAMPLE_RATE, WINDOW_S, Audio, Samples, VadOptions

SILERO = VadOptions(threshold=0.5, min_speech_s=0.1, min_silence_s=0.5, padding_s=0.2)
OFF = VadOptions(method="off")
FRAME_S = FRAME / SAMPLE_RATE


def voice(seconds: float, level: float = 0.3) -> Samples:
    """A low tone, loud enough to stand for speech."""
    samples: Samples = (level * np.sin(np.arange(int(seconds * SAMPLE_RATE)) / 10)).astype(np.float32)
    return samples


def hiss(seconds: float, level: float) -> Samples:
    noise = np.random.default_rng(0).normal(0, level, int(seconds * SAMPLE_RATE))
    return noise.astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def audio(*parts: Samples) -> Audio:
    return Audio(np.concatenate(parts))


def loud(block: Samples) -> Scores:
    scores: Scores = (np.abs(block.reshape(-1, FRAME)).max(axis=1) > 0.1).astype(np.float32)
    return scores


def split_loud(whole: Audio, options: VadOptions = SILERO, window_s: float = WINDOW_S) -> list[Span]:
    """Windows, where every loud frame is speech."""
    return split(whole.samples, score(whole.samples, loud), options, window_s)


def in_seconds(spans: list[Span]) -> list[tuple[float, float]]:
    return [(round(span.start / SAMPLE_RATE, 1), round(span.end / SAMPLE_RATE, 1)) for span in spans]


def scored(*runs: tuple[float, float]) -> list[float]:
    """Frame scores from (seconds, score) runs."""
    return [probability for seconds, probability in runs for _ in range(round(seconds / FRAME_S))]


def spans_of(*runs: tuple[float, float], options: VadOptions = SILERO) -> list[tuple[float, float]]:
    scores = np.array(scored(*runs), np.float32)
    return in_seconds(speech(scores, options, len(scores) * FRAME))


def real_speech() -> Audio:
    path = shared("librispeech-test-clean/1089-134686-0020.flac")
    if path is None:
        pytest.skip("no shared speech")
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLE_RATE
    return Audio(samples)


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_recording_has_no_windows(method: Literal["silero", "energy", "off"]) -> None:
    assert windows(audio(silence(0)), VadOptions(method)) == []


def test_silence_and_noise_have_no_windows() -> None:
    assert windows(audio(silence(5), hiss(5, level=0.01)), SILERO) == []


def test_off_puts_all_of_a_recording_into_one_window() -> None:
    assert windows(audio(silence(29.999)), OFF) == [Span(0, 479_984)]


def test_off_splits_a_long_recording_where_it_is_quiet() -> None:
    whole = audio(voice(26.5), voice(0.4, level=0.01), voice(20))
    assert in_seconds(windows(whole, OFF)) == [(0.0, 26.8), (26.8, 46.9)]


@pytest.mark.parametrize("seconds", [30.001, 31, 34, 59.9, 60, 61, 100])
def test_unbroken_speech_is_split_into_windows_that_touch_and_fit(seconds: float) -> None:
    whole = audio(voice(seconds))
    spans = windows(whole, OFF)
    assert (spans[0].start, spans[-1].end) == (0, len(whole.samples))
    assert all(left.end == right.start for left, right in pairwise(spans))
    assert max(span.end - span.start for span in spans) <= WINDOW_S * SAMPLE_RATE
    assert min(span.end - span.start for span in spans) >= 6 * SAMPLE_RATE  # no tiny tail


def test_a_split_prefers_the_pause_that_only_the_scores_show() -> None:
    whole = audio(voice(40))  # steadily loud, as with music under the voice
    scores = score(whole.samples, everything)
    scores[round(27.0 / FRAME_S) : round(27.3 / FRAME_S)] = 0.4
    spans = split(whole.samples, scores, SILERO)
    assert 27.0 <= spans[0].end / SAMPLE_RATE <= 27.3


@pytest.mark.parametrize("frame", [845, 846, 900])
def test_a_split_is_in_the_middle_of_the_quietest_sixth_of_a_second(frame: int) -> None:
    steady = np.full(40 * SAMPLE_RATE, 0.3, np.float32)
    scores = score(steady, everything)
    scores[frame : frame + 5] = 0
    assert split(steady, scores, SILERO)[0].end == (frame + 2) * FRAME + FRAME // 2


@pytest.mark.parametrize("frame", [845, 900])
def test_a_split_is_where_it_is_quiet_if_all_of_it_counts_as_speech(frame: int) -> None:
    samples = np.full(40 * SAMPLE_RATE, 0.3, np.float32)
    samples[frame * FRAME : (frame + 5) * FRAME] = 0.1
    assert split(samples, score(samples, everything), SILERO)[0].end == (frame + 2) * FRAME + FRAME // 2


def test_a_pause_of_two_seconds_stays_inside_a_window_and_a_longer_one_ends_it() -> None:
    scores = np.zeros(331, np.float32)
    for first, last in [
        (0, 60),
        (135, 195),
        (271, 331),
    ]:  # with 0.2 s of padding, 2 s of pause and a frame more
        scores[first:last] = 1
    end, padding = 331 * FRAME, 3200
    spans = split(silence(end / SAMPLE_RATE), scores, SILERO)
    assert spans == [Span(0, 195 * FRAME + padding), Span(271 * FRAME - padding, end)]


def test_windows_may_be_exactly_as_long_as_the_model_takes() -> None:
    scores = np.ones(320, np.float32)
    scores[150:170] = 0
    bare = replace(SILERO, padding_s=0)
    assert split(silence(10.24), scores, bare, window_s=10.24) == [Span(0, 320 * FRAME)]
    assert len(split(silence(10.24), scores, bare, window_s=10.2)) == 2


def test_speech_is_kept_with_its_padding_and_no_more() -> None:
    whole = audio(silence(3), voice(2), silence(5))
    assert in_seconds(split_loud(whole)) == [(2.8, 5.2)]


def test_padding_stops_at_the_recordings_ends() -> None:
    assert split_loud(audio(voice(2))) == [Span(0, 2 * SAMPLE_RATE)]


def test_a_short_pause_stays_inside_a_window_and_a_long_one_ends_it() -> None:
    whole = audio(voice(2), silence(1.5), voice(2), silence(4), voice(2))
    assert in_seconds(split_loud(whole)) == [(0.0, 5.7), (9.3, 11.5)]


def test_speech_that_no_longer_fits_begins_a_new_window() -> None:
    whole = audio(voice(25), silence(1.5), voice(1.5), silence(0.8), voice(10))
    assert in_seconds(split_loud(whole)) == [(0.0, 28.2), (28.6, 38.8)]


def test_windows_never_overlap_however_wide_the_padding() -> None:
    whole = audio(*[part for _ in range(20) for part in (voice(2), silence(0.6))])
    spans = split_loud(whole, replace(SILERO, padding_s=1.0), window_s=5)
    assert all(left.end <= right.start for left, right in pairwise(spans))
    assert max(span.end - span.start for span in spans) <= 5 * SAMPLE_RATE


def test_speech_begins_at_the_threshold_and_ends_well_below_it() -> None:
    assert spans_of((1, 0.0), (1, 0.5), (1, 0.4), (1, 0.0)) == [(1.0, 3.0)]
    assert spans_of((1, 0.0), (1, 0.4), (1, 0.0)) == []
    assert spans_of((1, 0.0), (1, 0.4), (1, 0.0), options=replace(SILERO, threshold=0.4)) == [(1.0, 2.0)]


def test_a_pause_ends_speech_only_when_it_is_long_enough() -> None:
    runs = ((1, 0.9), (0.4, 0.0), (1, 0.9), (0.6, 0.0), (1, 0.9))
    assert spans_of(*runs) == [(0.0, 2.4), (3.0, 4.0)]
    assert spans_of(*runs, options=replace(SILERO, min_silence_s=0.3)) == [(0.0, 1.0), (1.4, 2.4), (3.0, 4.0)]


def test_a_pause_goes_on_through_scores_that_are_neither_speech_nor_silence() -> None:
    assert spans_of((1, 0.9), (0.1, 0.0), (0.5, 0.4), (1, 0.9)) == [(0.0, 1.0), (1.6, 2.6)]


def test_a_sound_shorter_than_the_shortest_speech_is_not_speech() -> None:
    assert spans_of((1, 0.0), (0.064, 0.9), (1, 0.0)) == []
    for shortest_s in (0, 0.064):
        options = replace(SILERO, min_speech_s=shortest_s)
        assert spans_of((1, 0.0), (0.064, 0.9), (1, 0.0), options=options) == [(1.0, 1.1)]


def test_a_span_of_live_audio_ends_as_soon_as_its_pause_has_lasted() -> None:
    segmenter = SpeechSegmenter(SILERO)
    fed = [(segmenter.feed(probability), segmenter.speaking) for probability in scored((1, 0.9), (0.6, 0.0))]
    ends = [at for at, (span, _) in enumerate(fed) if span]
    assert [fed[at][0] for at in ends] == [Span(0, 31 * FRAME)]
    assert round(ends[0] * FRAME_S, 1) == 1.5
    assert [speaking for _, speaking in fed] == [True] * ends[0] + [False] * (len(fed) - ends[0])


def test_every_frame_is_scored_and_the_last_one_filled_up() -> None:
    assert score(voice(1), everything).shape == (32,)
    assert score(silence(0), everything).shape == (0,)


def test_real_speech_is_one_window_and_the_silence_around_it_is_left_out() -> None:
    recording = real_speech()
    (span,) = windows(audio(silence(20), recording.samples, silence(20)), SILERO)
    assert span.start / SAMPLE_RATE == pytest.approx(20, abs=0.6)
    assert span.end / SAMPLE_RATE == pytest.approx(20 + recording.seconds, abs=0.6)


def test_several_threads_get_the_same_windows_as_one() -> None:
    recording = real_speech()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: windows(recording, SILERO), range(8)))
    assert found == [windows(recording, SILERO)] * 8
