"""How every engine hears a batch: windows in, an outcome for each out.

Here is checked what was asked; windows alike share a pass; what misled the
model or stopped early is heard again; the pieces are put together. An engine
brings `listen`: stretches of one kind in, what the model decoded of each out.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from whisper.audio import log_mel_spectrogram

from whisper_serve.engines import Outcome, Prepared
from whisper_serve.engines.whisper.prompt import LONGEST_ANSWER, TIMESTAMP_S, Vocabulary
from whisper_serve.engines.whisper.segments import Answer, Decoded, as_segments, shift
from whisper_serve.errors import BadAudio, BadRequest, ModelFailed, TranscriptionError
from whisper_serve.telemetry.metrics import CONTEXT, FULL_CONTEXT_RETRIES, record
from whisper_serve.types import SAMPLE_RATE, WINDOW_S, Options, Samples, Segment, Window, WindowResult

log = logging.getLogger(__name__)

FRAMES_PER_SECOND = 100  # of mel
FULL_FRAMES = round(WINDOW_S * FRAMES_PER_SECOND)  # the context Whisper was trained on
ADAPTIVE_MARGIN_S = 3.0  # silence after the speech, so that the model sees it end
SHORTEST_CONTEXT_S = 8.0  # below, the model is misled so often that hearing again costs more than it saves
FRAMES_STEP = 32  # lengths that came before are encoded faster: what depends on a length alone is kept
TOKENS_PER_SECOND, SPARE_TOKENS = 8, 16  # more than most speech needs; a pass that fills them is misled
LIKE = 2.0  # stretches share a pass up to this ratio of lengths: the shorter pay for the longest
REST_S = 1.0  # a shorter rest of a window is not heard again
CUT_OFF_S = 0.5  # speech that begins closer to the end is left out
SPEECH_LOGPROB, SURE_LOGPROB, NO_SPEECH = -1.0, -0.5, 0.6  # below, or above, what was heard is hardly speech

# Signs that a short context misled the model: it repeats itself, or runs on past the speech.
MISLED_RATIO = 1.9  # compression
MISLED_CHARACTERS_PER_SECOND = 26
MISLED_LOGPROB = -0.8

Kind = tuple[bool, int, float, bool, bool]


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """What one pass hears of a window: all of it, or the rest."""

    window: int  # which of the batch
    samples: Samples
    start: float  # seconds from the start of the window
    options: Options  # its language is a code, or None: to be detected
    previous: tuple[int, ...]  # tokens said before it
    frames: int  # of mel to show the model: the samples, then silence
    max_tokens: int
    encoded: Any = None  # what the engine's encoder made of them; None: it is yet to hear them

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def sound_frames(self) -> int:
        """Mel frames that are not padding; at least the two of one encoder step."""
        return max(2, round(self.seconds * FRAMES_PER_SECOND))

    @property
    def kind(self) -> Kind:
        """What stretches must have in common to share a pass."""
        o = self.options
        return (o.language is None, len(self.previous), o.temperature, o.word_timestamps, o.logprobs)


Listen = Callable[[Sequence[DecodeRequest]], list[Decoded]]
Encode = Callable[[DecodeRequest], Any]


@dataclass(slots=True)
class Progress:
    """One window on its way to an outcome."""

    error: TranscriptionError | None = None
    language: str = ""
    probability: float = 1.0
    segments: list[Segment] = field(default_factory=list)

    def outcome(self) -> Outcome:
        return self.error or WindowResult(tuple(self.segments), self.language, self.probability)


@dataclass(frozen=True, slots=True)
class BatchDecoder:
    """How one engine hears."""

    listen: Listen
    vocabulary: Vocabulary
    adaptive: bool  # show the model the speech and a margin, instead of 30 s
    largest_batch: int
    encode: Encode | None = None  # where stretches are encoded one by one; None: `listen` encodes its batch

    def prepare(self, window: Window) -> Prepared:
        """Check what was asked, and encode the whole window."""
        try:
            options = check(window, self.vocabulary)
        except BadRequest as e:
            return Prepared(window, e)
        previous = self.vocabulary.previous(options)
        whole = DecodeRequest(0, window.samples, 0.0, options, previous, FULL_FRAMES, LONGEST_ANSWER)
        return Prepared(window, self.encoded(self.fit(whole)))

    def encoded(self, stretch: DecodeRequest) -> DecodeRequest:
        if self.encode is None or stretch.encoded is not None:
            return stretch
        return replace(stretch, encoded=self.encode(stretch))

    def hear(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """In as few passes as it takes; a window that fails leaves the others alone."""
        progress = [Progress() for _ in batch]
        todo: list[DecodeRequest | None] = []
        for i, prepared in enumerate(batch):
            if isinstance(prepared.state, DecodeRequest):
                todo.append(replace(prepared.state, window=i))
            else:
                progress[i].error = prepared.state
        while stretches := [stretch for stretch in todo if stretch]:
            todo = []
            for group in batches(stretches, self.largest_batch):
                for stretch, decoded in zip(group, self.attempt(group), strict=True):
                    todo.append(self.advance(progress[stretch.window], stretch, decoded))
        return [p.outcome() for p in progress]

    def fit(self, stretch: DecodeRequest) -> DecodeRequest:
        """The stretch with as much context, and room for words, as its length needs.

        A warm pass gets all there is: something went wrong with this one before.
        """
        context = max(stretch.seconds + ADAPTIVE_MARGIN_S, SHORTEST_CONTEXT_S)
        frames = FRAMES_STEP * math.ceil(context * FRAMES_PER_SECOND / FRAMES_STEP)
        if not self.adaptive or stretch.options.temperature > 0 or frames >= FULL_FRAMES:
            return shown(stretch, FULL_FRAMES, LONGEST_ANSWER)
        tokens = math.ceil(stretch.seconds * TOKENS_PER_SECOND) + SPARE_TOKENS
        return shown(stretch, frames, min(tokens, LONGEST_ANSWER))

    def attempt(self, batch: list[DecodeRequest]) -> list[Decoded | ModelFailed]:
        """Listen to all at once; if that breaks, to one by one, to learn whose fault it is."""
        for stretch in batch:
            record(CONTEXT, stretch.frames / FRAMES_PER_SECOND)
        try:
            return [*self.listen([self.encoded(stretch) for stretch in batch])]
        except (RuntimeError, ValueError) as e:  # what ctranslate2 and torch raise
            if len(batch) == 1:
                return [ModelFailed(f"the model failed on this audio: {e}")]
            log.warning("a pass of %d windows failed, and each is heard alone", len(batch), exc_info=True)
            return [decoded for stretch in batch for decoded in self.attempt([stretch])]

    def advance(
        self, progress: Progress, heard: DecodeRequest, decoded: Decoded | ModelFailed
    ) -> DecodeRequest | None:
        """Take a pass into account; answer what its window still needs heard, if anything."""
        if isinstance(decoded, ModelFailed):
            progress.error = decoded
            return None
        tokenizer = self.vocabulary.tokenizer(decoded.language)
        speech = is_speech(decoded.answer)
        ran_out = speech and len(decoded.answer.tokens) >= heard.max_tokens
        segments, upto = as_segments(decoded, heard.seconds, heard.options.temperature, tokenizer, ran_out)
        if heard.frames < FULL_FRAMES and misled(segments, decoded, heard):
            record(FULL_CONTEXT_RETRIES)
            return shown(heard, FULL_FRAMES, LONGEST_ANSWER)
        if not progress.language:
            progress.language, progress.probability = decoded.language, decoded.language_probability
        progress.segments += [shift(segment, heard.start) for segment in segments]
        if not (speech and REST_S <= upto <= heard.seconds - REST_S):
            return None
        rest = heard.samples[round(upto * SAMPLE_RATE) :]
        options = replace(heard.options, language=progress.language)
        return self.fit(replace(heard, samples=rest, start=heard.start + upto, options=options))


def shown(stretch: DecodeRequest, frames: int, max_tokens: int) -> DecodeRequest:
    """The stretch in a context it was not encoded in yet."""
    return replace(stretch, frames=frames, max_tokens=max_tokens, encoded=None)


def check(window: Window, vocabulary: Vocabulary) -> Options:
    """The window's options with its language as a code. Raises BadRequest."""
    if window.seconds > WINDOW_S:
        raise BadRequest(f"a window of {window.seconds:.1f} s; the model hears {WINDOW_S:.0f} s at a time")
    if not np.isfinite(window.samples).all():
        raise BadAudio("the recording holds samples that are not finite numbers")
    return replace(window.options, language=vocabulary.code(window.options.language))


def batches(stretches: Iterable[DecodeRequest], largest: int) -> list[list[DecodeRequest]]:
    """Group what can share a pass: of one kind and of like lengths."""
    groups: list[list[DecodeRequest]] = []
    for stretch in sorted(stretches, key=lambda s: (s.kind, s.frames)):
        shortest = groups[-1][0] if groups and len(groups[-1]) < largest else None
        if shortest and shortest.kind == stretch.kind and stretch.frames <= LIKE * shortest.frames:
            groups[-1].append(stretch)
        else:
            groups.append([stretch])
    return groups


def misled(segments: Sequence[Segment], decoded: Decoded, stretch: DecodeRequest) -> bool:
    characters = sum(len(s.text) for s in segments)
    return (
        len(decoded.answer.tokens) >= stretch.max_tokens
        or decoded.answer.avg_logprob < MISLED_LOGPROB
        or characters > MISLED_CHARACTERS_PER_SECOND * stretch.seconds
        or any(s.compression_ratio > MISLED_RATIO for s in segments)
    )


def is_speech(answer: Answer) -> bool:
    """Whether more can be expected from where this came from."""
    unsure = answer.no_speech_prob > NO_SPEECH and answer.avg_logprob < SURE_LOGPROB
    return answer.avg_logprob >= SPEECH_LOGPROB and not unsure


def complete(
    answers: Sequence[Answer],
    stretches: Sequence[DecodeRequest],
    zero: int,
    go_on: Callable[[list[int], list[tuple[int, ...]]], list[Answer]],
) -> list[Answer]:
    """Let the model finish the sentences that the end of a stretch cuts off.

    Whisper only names the time such a sentence begins, and leaves its words to
    a next window that begins there. None will here: `go_on` is asked to decode
    the stretches of these indexes again, with the text so far as a beginning.
    """
    done = list(answers)
    rows = [i for i, s in enumerate(stretches) if is_cut_off(answers[i], s.seconds, zero)]
    said = [tuple(t for t in answers[i].tokens if t < zero) for i in rows]
    for i, rest in zip(rows, go_on(rows, said) if rows else [], strict=True):
        done[i] = Answer(
            answers[i].tokens + rest.tokens,
            answers[i].sum_logprob + rest.sum_logprob,
            answers[i].no_speech_prob,
            answers[i].logprobs + rest.logprobs,
        )
    return done


def is_cut_off(answer: Answer, seconds: float, zero: int) -> bool:
    """Whether it ends in a pair of timestamps: the end of one sentence, and the begin of one without words."""
    *_, end, begin = (0, 0, *answer.tokens)
    return end >= zero and 0 < begin - zero <= (seconds - CUT_OFF_S) / TIMESTAMP_S and is_speech(answer)


def log_mel(stretches: Sequence[DecodeRequest], mels: int, device: str = "cpu") -> torch.Tensor:
    """Log-mel spectrograms, shape (len(stretches), mels, frames of the longest): each padded with silence."""
    samples = max(s.frames for s in stretches) * SAMPLE_RATE // FRAMES_PER_SECOND
    padded = [np.pad(s.samples, (0, samples - len(s.samples))) for s in stretches]
    return torch.stack([log_mel_spectrogram(one, mels, device=device) for one in padded])
