"""Splits what a Whisper model decoded into segments, at the timestamps it writes between sentences.

Times are in seconds from the start of the request's audio.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from whisper.tokenizer import Tokenizer
from whisper.utils import compression_ratio

from whisper_serve.engines.whisper.model import Decoded
from whisper_serve.engines.whisper.prompt import TIMESTAMP_S
from whisper_serve.engines.whisper.word_timestamps import Timing, clamp
from whisper_serve.types import Segment, TokenLogprob, Word


@dataclass(frozen=True, slots=True)
class Sentence:
    """A run of tokens and the timestamps around it."""

    first: int  # index of its first token
    last: int  # one beyond its last
    start: float
    end: float


def split(tokens: Sequence[int], seconds: float, timestamp_begin: int) -> tuple[list[Sentence], float]:
    """Split between timestamps that stand in pairs; `timestamp_begin` is the token of 0.00 s.

    Gives the sentences that hold text, and up to where the audio is decoded:
    `seconds` or later where it all is. Text after the last pair lasts to the
    end of the audio.
    """
    timed = [token >= timestamp_begin for token in tokens]
    times = [(token - timestamp_begin) * TIMESTAMP_S for token in tokens]
    edges = [0, *(i for i in range(1, len(tokens)) if timed[i - 1] and timed[i]), len(tokens)]
    sentences = []
    for first, last in pairwise(edges):
        if not all(timed[first:last]):
            start = times[first] if timed[first] else 0.0
            end = times[last - 1] if timed[last - 1] else max(seconds, start)
            sentences.append(Sentence(first, last, start, end))
    upto = times[-1] if tokens and timed[-1] else seconds
    return sentences, upto


def as_segments(
    decoded: Decoded, seconds: float, temperature: float, tokenizer: Tokenizer, ran_out: bool
) -> tuple[list[Segment], float]:
    """The segments of `seconds` of audio, in order, inside it; and up to where it is decoded.

    `ran_out`: generation was stopped in mid-sentence, and that one is to be decoded again.
    What begins beyond the audio is invented: there the model is shown our padding.
    """
    sentences, upto = split(decoded.tokens, seconds, tokenizer.timestamp_begin)
    if ran_out and len(sentences) > 1:
        upto = sentences.pop().start
    repeats = compression_ratio(text_of(decoded.tokens, tokenizer).strip())
    words = iter(decoded.words)
    segments: list[Segment] = []
    floor = 0.0
    for s in (s for s in sentences if s.start < seconds):
        tokens = decoded.tokens[s.first : s.last]
        own = take(words, sum(t < tokenizer.eot for t in tokens))
        start = min(max(s.start, floor), seconds)
        segment = Segment(
            start=start,
            end=min(max(s.end, start), seconds),
            text=text_of(tokens, tokenizer),
            tokens=tokens,
            temperature=temperature,
            avg_logprob=decoded.avg_logprob,
            compression_ratio=repeats,
            no_speech_prob=decoded.no_speech_prob,
            logprobs=as_logprobs(tokens, decoded.logprobs[s.first : s.last], tokenizer),
        )
        segments.append(with_words(segment, clamp(own, s.start, s.end, floor, seconds)))
        floor = segments[-1].end
    return segments, upto


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
