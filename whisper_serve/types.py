"""The data types that all packages share. Nothing in this module does any work.

Times are seconds from the start of the recording unless a comment says otherwise.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz: every Audio is mono at this rate
WINDOW_S = 30.0  # the most audio the model takes at a time

Samples = NDArray[np.float32]
Task = Literal["transcribe", "translate"]
Channels = Literal[
    "mix", "separate", "speakers"
]  # speakers: separate where there are two, of one person each


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording, or a part of one."""

    samples: Samples  # shape (n,), in [-1, 1], SAMPLE_RATE

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class VadOptions:
    """Settings of voice activity detection. Bounds and descriptions are those of the config's section `vad`."""

    method: Literal["silero", "energy", "off"] = field(
        default="silero",
        metadata={
            "description": "voice activity detection: silero, by a small neural network; energy, by loudness; "
            "off, all of a recording counts as speech"
        },
    )
    threshold: float = field(
        default=0.5,
        metadata={"gt": 0, "lt": 1, "description": "speech probability at which speech begins (silero)"},
    )
    min_speech_s: float = field(
        default=0.25, metadata={"ge": 0, "description": "shorter sounds are not speech"}
    )
    min_silence_s: float = field(
        default=0.5, metadata={"ge": 0, "description": "shorter pauses do not end speech"}
    )
    padding_s: float = field(
        default=0.2, metadata={"ge": 0, "le": 5, "description": "kept on either side of speech"}
    )


@dataclass(frozen=True, slots=True)
class Replacement:
    """A phrase, and what is to be written instead."""

    phrase: str
    written: str


@dataclass(frozen=True, slots=True)
class Options:
    """What one caller asked for, the same for every transport."""

    language: str | None = None  # ISO 639-1; None: detect it
    languages: tuple[str, ...] = ()  # where it is detected: the likeliest of these; empty: of all
    multilingual: bool = False  # detect it in each window on its own
    task: Task = "transcribe"
    prompt: str = ""  # words the recording is likely to hold, or the text before it
    hotwords: str = ""  # names to favour
    temperature: float = 0.0  # 0: the likeliest words, and tries at higher temperatures where they look wrong
    word_timestamps: bool = False
    logprobs: bool = False  # log-probability of every token
    vad: VadOptions | None = None  # None: as configured
    use_parallel: bool = True  # False: one window at a time
    allow_partial: bool = False  # True: answer what could be transcribed, and name the gaps
    headerless: bool = False  # the recording is bare samples: 16-bit little-endian, mono, SAMPLE_RATE
    channels: Channels = "mix"  # what becomes of a recording's channels
    replacements: tuple[Replacement, ...] = ()  # in the text, before those that are configured


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a recording short enough for the model."""

    samples: Samples  # shape (n,), n <= WINDOW_S * SAMPLE_RATE
    start: float
    options: Options
    channel: int | None = None  # that it is a part of, from 1; None: of all, mixed
    check_language: bool = False  # detect the language though it is given

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def end(self) -> float:
        return self.start + self.seconds


@dataclass(frozen=True, slots=True)
class Word:
    start: float
    end: float
    text: str  # with its leading space, where the language has them
    probability: float
    channel: int | None = None  # where channels are transcribed separately, from 1
    speaker: str | None = None  # who said it, such as "SPEAKER_00", where that is known


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    token: str
    logprob: float
    bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence or so. The figures are those of the tokens it was decoded with."""

    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0  # mean natural-log probability per token
    compression_ratio: float = 1.0  # zlib; above 2.4 the text repeats itself
    no_speech_prob: float = 0.0
    words: tuple[Word, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    channel: int | None = None  # as in Word
    speaker: str | None = None
    language: str = ""  # ISO 639-1, where each window's is detected on its own

    def shifted(self, seconds: float) -> "Segment":
        """The same segment and words, so much later, and none of their times before 0."""

        def later(time: float) -> float:
            return max(0.0, time + seconds)

        words = tuple(replace(w, start=later(w.start), end=later(w.end)) for w in self.words)
        return replace(self, start=later(self.start), end=later(self.end), words=words)

    def said_by(self, channel: int | None, speaker: str | None) -> "Segment":
        """The same segment and words, of this channel and speaker."""
        words = tuple(replace(w, channel=channel, speaker=speaker) for w in self.words)
        return replace(self, channel=channel, speaker=speaker, words=words)


@dataclass(frozen=True, slots=True)
class WindowResult:
    """The transcript of one window. Times in its segments count from the window's start."""

    segments: tuple[Segment, ...]
    language: str  # ISO 639-1, as given or detected
    language_probability: float = 1.0
    spoken_language: str = ""  # the likeliest, where check_language asked for it
    spoken_probability: float = 0.0
    inference_s: float = 0.0  # this window's share of its inference batch
    batch_inference_s: float = 0.0  # the whole batch, in which there may have been other windows
    batch_windows: int = 0  # windows in that batch, this one included
    batch_audio_s: float = 0.0  # seconds of audio in them
    gpu_memory_gb: float = 0.0  # in use on the replica's GPU
    engine: str = ""  # its name in ENGINES
    warnings: tuple[str, ...] = ()  # what the caller should know about this window's result


@dataclass(frozen=True, slots=True)
class Dropped:
    """A segment a filter removed."""

    segment: Segment
    reason: str  # the filter's name


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of a recording that could not be transcribed."""

    start: float
    end: float
    error: str
    channel: int | None = None  # as in Word


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time went, in seconds."""

    decode_s: float = 0.0  # bytes to samples, samples to windows
    queue_s: float = 0.0  # the longest any window waited for a replica
    inference_s: float = 0.0  # in engines, summed over windows
    batch_windows: float = 0.0  # in a window's inference batch, mean over the recording's windows
    batch_audio_s: float = 0.0  # of audio in that batch, mean likewise


@dataclass(frozen=True, slots=True)
class Transcript:
    segments: tuple[Segment, ...]
    duration: float
    language: str | None = None  # ISO 639-1; None where there was no speech to detect it from
    language_probability: float = 0.0
    task: Task = "transcribe"
    dropped: tuple[Dropped, ...] = ()
    gaps: tuple[Gap, ...] = ()
    windows: int = 0  # sent to the model
    timings: Timings = Timings()
    gpu_memory_gb: float = 0.0
    engine: str = ""  # that transcribed it, as ENGINES names it; empty where no window was sent to one
    # What the caller should know though the request was answered: one sentence each, ASCII.
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(s.text for s in self.segments).strip()

    @property
    def success_rate(self) -> float:
        """Share of the windows that were transcribed."""
        return 1 - len(self.gaps) / self.windows if self.windows else 1.0
