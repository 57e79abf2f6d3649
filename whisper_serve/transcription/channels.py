"""Recordings whose channels are transcribed by themselves: one transcript in order of time, and who speaks on each."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from whisper_serve.audio.vad import Span
from whisper_serve.transcription.language_policy import LanguagePolicy
from whisper_serve.types import SAMPLE_RATE, Audio, Options, Segment, Window

NOT_SEPARATED = {  # what to know of an answer in which `channels` of the options came to nothing
    "separate": "the recording has one channel, or the same sound in all: it was transcribed once",
    "speakers": "speakers are told apart by channel only, and this recording has no channel for each of two people: "
    "all is SPEAKER_00",
}


@dataclass(slots=True)
class ChannelState:
    """What the windows of one channel need to know of those before them."""

    language: LanguagePolicy
    last: Segment | None = None  # that the filters kept


class TimeOrder:
    """Segments are handed out as soon as none that begins earlier can come; so a stream has the order of the whole.

    starts: when each window starts, in the order in which they will come, which is that of their starts.
    """

    def __init__(self, starts: Iterable[float]) -> None:
        self._starts = deque(starts)
        self._held: list[Segment] = []

    def add(self, segments: Iterable[Segment]) -> tuple[Segment, ...]:
        """Take the segments of the next window; all that are now known to come next, by their starts."""
        self._starts.popleft()
        self._held = sorted([*self._held, *segments], key=lambda segment: segment.start)
        known = bisect_right(self._held, self._starts[0] if self._starts else inf, key=lambda s: s.start)
        ready, self._held = self._held[:known], self._held[known:]
        return tuple(ready)


def windows_of(channels: Sequence[tuple[Audio, Sequence[Span]]], options: Options) -> tuple[Window, ...]:
    """The windows of all channels, in order of their starts. They are numbered where channels are kept apart."""
    numbered = options.channels == "separate" or len(channels) > 1
    windows = [
        Window(audio.samples[s.start : s.end], s.start / SAMPLE_RATE, options, i if numbered else None)
        for i, (audio, spans) in enumerate(channels, 1)
        for s in spans
    ]
    return tuple(sorted(windows, key=lambda window: window.start))


def speaker_of(window: Window) -> str | None:
    """whisperX's names, which clients of /asr expect: one for each channel, "SPEAKER_00" for the first."""
    return f"SPEAKER_{(window.channel or 1) - 1:02}" if window.options.channels == "speakers" else None


def warnings_about(options: Options, channels: int) -> tuple[str, ...]:
    """What the caller should know, where so many channels were transcribed by themselves."""
    warning = NOT_SEPARATED.get(options.channels)
    return (warning,) if warning and channels == 1 else ()
