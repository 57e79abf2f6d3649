"""One model pass in, the segments it heard out.

Whisper writes timestamps between its sentences; they are cut there. Times
count from the start of the stretch the pass heard.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from whisper.tokenizer import Tokenizer
from whisper.utils import compression_ratio

from whisper_serve.engines.whisper.prompt import TIMESTAMP_S
from whisper_serve.engines.whisper.word_timestamps import Timing, fit
from whisper_serve.types import Segment, TokenLogprob, Word


@dataclass(frozen=True, slots=True)
class Answer:
    """What the decoder said to one prompt."""

    tokens: tuple[int, ...]  # text and timestamps, without the end-of-text
    sum_logprob: float  # natural logs of all tokens and the end-of-text
    no_speech_prob: float
    logprobs: tuple[float, ...] = ()  # natural log of each of `tokens`, where asked for

    @property
    def avg_logprob(self) -> float:
        """As openai-whisper reckons it."""
        return self.sum_logprob / (len(self.tokens) + 1)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a model pass gave for one stretch."""

    language: str  # ISO 639-1
    language_probability: float
    answer: Answer
    words: tuple[Timing, ...] = ()  # of all text tokens, in order, where asked for


@dataclass(frozen=True, slots=True)
class Cut:
    """A run of tokens and the timestamps around it."""

    first: int  # index of its first token
    last: int  # one beyond its last
    start: float
    end: float


def cut(tokens: Sequence[int], seconds: float, zero: int) -> tuple[list[Cut], float]:
    """Cut between timestamps that stand in pairs; `zero` is the token of 0.00 s.

    Answers the cuts that hold text, and from where the model has yet to hear:
    `seconds` or later where it heard everything. Text after the last pair lasts
    to the end of the stretch.
    """
    timed = [token >= zero for token in tokens]
    times = [(token - zero) * TIMESTAMP_S for token in tokens]
    edges = [0, *(i for i in range(1, len(tokens)) if timed[i - 1] and timed[i]), len(tokens)]
    cuts = []
    for first, last in pairwise(edges):
        if not all(timed[first:last]):
            start = times[first] if timed[first] else 0.0
            end = times[last - 1] if timed[last - 1] else max(seconds, start)
            cuts.append(Cut(first, last, start, end))
    heard = times[-1] if tokens and timed[-1] else seconds
    return cuts, heard


def as_segments(
    decoded: Decoded, seconds: float, temperature: float, tokenizer: Tokenizer, ran_out: bool
) -> tuple[list[Segment], float]:
    """The segments of a stretch of `seconds`, in order, inside it; and from where it has yet to be heard.

    `ran_out`: the pass was stopped in mid-sentence, and that one is to be heard again.
    What begins beyond the stretch is made up: there the model hears our padding.
    """
    answer = decoded.answer
    cuts, heard = cut(answer.tokens, seconds, tokenizer.timestamp_begin)
    if ran_out and len(cuts) > 1:
        heard = cuts.pop().start
    repeats = compression_ratio(text_of(answer.tokens, tokenizer).strip())
    words = iter(decoded.words)
    segments: list[Segment] = []
    floor = 0.0
    for c in (c for c in cuts if c.start < seconds):
        tokens = answer.tokens[c.first : c.last]
        own = take(words, sum(t < tokenizer.eot for t in tokens))
        start = min(max(c.start, floor), seconds)
        segment = Segment(
            start=start,
            end=min(max(c.end, start), seconds),
            text=text_of(tokens, tokenizer),
            tokens=tokens,
            temperature=temperature,
            avg_logprob=answer.avg_logprob,
            compression_ratio=repeats,
            no_speech_prob=answer.no_speech_prob,
            logprobs=as_logprobs(tokens, answer.logprobs[c.first : c.last], tokenizer),
        )
        segments.append(with_words(segment, fit(own, c.start, c.end, floor, seconds)))
        floor = segments[-1].end
    return segments, heard


def text_of(tokens: Sequence[int], tokenizer: Tokenizer) -> str:
    text: str = tokenizer.decode([t for t in tokens if t < tokenizer.eot])
    return text


def as_logprobs(
    tokens: Sequence[int], logprobs: Sequence[float], tokenizer: Tokenizer
) -> tuple[TokenLogprob, ...]:
    """Of the text alone; a token that is part of a character shows as U+FFFD, and its bytes tell which."""
    spoken = [(t, p) for t, p in zip(tokens, logprobs, strict=False) if t < tokenizer.eot]
    pieces = [(tokenizer.encoding.decode_single_token_bytes(t), p) for t, p in spoken]
    return tuple(TokenLogprob(piece.decode("utf-8", "replace"), p, tuple(piece)) for piece, p in pieces)


def take(words: Iterator[Timing], tokens: int) -> list[Timing]:
    """The next words, until they hold so many tokens."""
    taken: list[Timing] = []
    while tokens > 0 and (word := next(words, None)):
        taken.append(word)
        tokens -= len(word.tokens)
    return taken


def with_words(segment: Segment, words: tuple[Word, ...]) -> Segment:
    """The segment from its first word to its last, which alignment places better than timestamps do."""
    return replace(segment, start=words[0].start, end=words[-1].end, words=words) if words else segment


def shift(segment: Segment, seconds: float) -> Segment:
    """The same segment, so much later."""
    words = tuple(replace(w, start=w.start + seconds, end=w.end + seconds) for w in segment.words)
    return replace(segment, start=segment.start + seconds, end=segment.end + seconds, words=words)
