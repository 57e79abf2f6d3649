"""A Whisper model that decodes by a script, and remembers the batches it was given."""

from collections.abc import Hashable, Mapping, Sequence

from whisper_serve.engines import Outcome, transcribe
from whisper_serve.engines.whisper.engine import WhisperEngine
from whisper_serve.engines.whisper.model import Decoded
from whisper_serve.engines.whisper.prompt import PromptTokens
from whisper_serve.engines.whisper.request import DecodeRequest
from whisper_serve.engines.whisper.word_timestamps import Timing
from whisper_serve.types import Options, Window

BASE = PromptTokens(multilingual=True, languages=99)
TOKENIZER = BASE.tokenizer()
TIMESTAMP_BEGIN: int = TOKENIZER.timestamp_begin


def tokens(*parts: str | float) -> tuple[int, ...]:
    """A transcript: strings are text, numbers timestamps in seconds."""
    return tuple(
        token
        for part in parts
        for token in (
            TOKENIZER.encode(part) if isinstance(part, str) else [TIMESTAMP_BEGIN + round(part / 0.02)]
        )
    )


def decoded(*parts: str | float, logprob: float = -0.1, no_speech: float = 0.0) -> Decoded:
    ids = tokens(*parts)
    return Decoded(ids, logprob * (len(ids) + 1), no_speech, tuple(logprob for _ in ids))


class ScriptedModel:
    """The script goes by the length of the audio in seconds; the last answer to a length is repeated.

    Audio of a length that is not in it breaks the model. Features are the requests themselves.
    """

    name = "scripted"
    workers = 1
    prompt = BASE

    def __init__(
        self, script: dict[float, Sequence[Decoded]], adaptive: bool = True, largest_batch: int = 4
    ) -> None:
        self.script = {seconds: [*answers] for seconds, answers in script.items()}
        self.adaptive, self.largest_batch = adaptive, largest_batch
        self.batches: list[Sequence[DecodeRequest]] = []  # as they were encoded, and so ran together
        self.detected: list[int] = []  # requests whose language was detected at once
        self.prefixes: list[Sequence[tuple[int, ...]]] = []
        self.aligned: list[tuple[int, ...]] = []  # texts

    def batch_key(self, options: Options) -> Hashable:
        return options.temperature, len(self.prompt.previous(options))

    def encode(self, request: DecodeRequest) -> None:
        pass

    def features(self, requests: Sequence[DecodeRequest]) -> Sequence[DecodeRequest]:
        self.batches.append(requests)
        return requests

    def select(self, features: Sequence[DecodeRequest], rows: Sequence[int]) -> Sequence[DecodeRequest]:
        return [features[i] for i in rows]

    def detect_language(self, features: Sequence[DecodeRequest]) -> list[Mapping[str, float]]:
        self.detected.append(len(features))
        return [{"en": 0.02, "fr": 0.9, "de": 0.08} for _ in features]

    def generate(
        self,
        features: Sequence[DecodeRequest],
        requests: Sequence[DecodeRequest],
        prefixes: Sequence[tuple[int, ...]] = (),
    ) -> list[Decoded]:
        self.prefixes.append(prefixes)
        if any(round(r.seconds, 2) not in self.script for r in requests):
            raise RuntimeError("no such length in the script")
        return [self.answer(r) for r in requests]

    def answer(self, request: DecodeRequest) -> Decoded:
        answers = self.script[round(request.seconds, 2)]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def align(
        self,
        features: Sequence[DecodeRequest],
        requests: Sequence[DecodeRequest],
        texts: Sequence[Sequence[int]],
    ) -> list[Sequence[Timing]]:
        """One word, as long as the audio."""
        self.aligned += [(*text,) for text in texts]
        return [
            [Timing(TOKENIZER.decode([*text]), [*text], 0.0, r.seconds, 1.0)]
            for r, text in zip(requests, texts, strict=True)
        ]

    def gpu_memory_gb(self) -> float:
        return 0.0

    def transcribe(self, *windows: Window) -> list[Outcome]:
        return transcribe(WhisperEngine(self), windows)
