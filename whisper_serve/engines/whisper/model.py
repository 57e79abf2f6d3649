"""What an engine brings to run a Whisper model: the network itself, which knows nothing of windows or retries."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from whisper_serve.engines.whisper.prompt import PromptTokens
from whisper_serve.engines.whisper.request import DecodeRequest
from whisper_serve.engines.whisper.word_timestamps import Timing
from whisper_serve.types import Options

Features = TypeVar("Features")  # encoder output of a batch, in the model's own form


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the model made of one request."""

    tokens: tuple[int, ...]  # text and timestamps, without the end-of-text
    sum_logprob: float  # natural logs of all tokens and the end-of-text
    no_speech_prob: float
    logprobs: tuple[float, ...] = ()  # natural log of each of `tokens`, where asked for
    language: str = ""  # ISO 639-1
    language_probability: float = 1.0
    spoken: tuple[str, float] = ("", 0.0)  # the likeliest language and its probability, where asked for
    words: tuple[Timing, ...] = ()  # of all text tokens, in order, where asked for

    @property
    def avg_logprob(self) -> float:
        """As openai-whisper reckons it."""
        return self.sum_logprob / (len(self.tokens) + 1)


class WhisperModel(Protocol[Features]):
    """Blocking; called from several threads at once. Requests of one call run as one batch.

    Their batch keys are the same; in `generate` and `align` their languages are known.
    """

    name: str
    workers: int
    largest_batch: int
    prompt: PromptTokens
    adaptive: bool  # show the model the speech and a margin; False: always 30 s

    def batch_key(self, options: Options) -> Hashable:
        """What requests must have in common to share a batch, where the model cannot mix it."""

    def encode(self, request: DecodeRequest) -> Any:
        """Encoder output of a request alone; None where encoding a whole batch is faster."""

    def features(self, requests: Sequence[DecodeRequest]) -> Features:
        """Encoder output of all, from what `encode` gave for each, or computed now."""

    def select(self, features: Features, rows: Sequence[int]) -> Features:
        """Those of some requests."""

    def detect_language(self, features: Features) -> list[Mapping[str, float]]:
        """Of each one, the probability of every language that the model knows, by its code."""

    def generate(
        self,
        features: Features,
        requests: Sequence[DecodeRequest],
        prefixes: Sequence[tuple[int, ...]] = (),
    ) -> list[Decoded]:
        """Tokens with timestamps; given text tokens to begin with, what follows those, without timestamps."""

    def align(
        self, features: Features, requests: Sequence[DecodeRequest], texts: Sequence[Sequence[int]]
    ) -> list[Sequence[Timing]]:
        """When each word of the text tokens is spoken."""

    def gpu_memory_gb(self) -> float: ...
