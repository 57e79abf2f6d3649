"""Whisper on openai-whisper and torch: the reference on CPUs, and the engine for GPUs."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from whisper.decoding import DecodingOptions, DecodingTask, GreedyDecoder, detect_language
from whisper.model import Whisper
from whisper.timing import WordTiming, find_alignment

from whisper_serve.engines import EngineSettings
from whisper_serve.engines.whisper.convert import as_openai_whisper
from whisper_serve.engines.whisper.engine import WhisperEngine
from whisper_serve.engines.whisper.model import Decoded
from whisper_serve.engines.whisper.prompt import LATEST_FIRST_TIMESTAMP_S, PromptTokens
from whisper_serve.engines.whisper.request import DecodeRequest, log_mel
from whisper_serve.engines.whisper.word_timestamps import Timing
from whisper_serve.errors import ConfigError, WeightsError
from whisper_serve.types import Options

LARGEST_BATCH = {"cpu": 4, "cuda": 32}
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
BEST_TYPE = {"cpu": "float32", "cuda": "float16"}


def load(settings: EngineSettings) -> WhisperEngine[Tensor]:
    return WhisperEngine(OpenAIWhisperModel(settings))


class OpenAIWhisperModel:
    """Weights are a checkpoint or a CTranslate2 folder. Raises WeightsError, ConfigError.

    Features of n requests have shape (n, 1500, width of the model).
    """

    name = "openai_whisper"
    adaptive = False  # openai-whisper's encoder takes 30 s and nothing else

    def __init__(self, settings: EngineSettings) -> None:
        if settings.weights is None:
            raise WeightsError(f"the engine {self.name!r} needs a model")
        self.workers = 1
        self.largest_batch = LARGEST_BATCH[settings.device]
        torch.set_num_threads(settings.cpus)
        if settings.device == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
            torch.backends.cudnn.benchmark = True
        self.device = settings.device
        self.dtype = number_type(settings)
        self.model = cast(as_openai_whisper(settings.weights), self.dtype).to(settings.device).eval()
        self.prompt = PromptTokens(self.model.is_multilingual, self.model.num_languages)

    def batch_key(self, options: Options) -> Hashable:
        return options.temperature

    def gpu_memory_gb(self) -> float:
        return torch.cuda.memory_allocated() / 1e9 if self.device == "cuda" else 0.0

    def encode(self, request: DecodeRequest) -> None:
        """A batch is encoded together."""

    @torch.inference_mode()
    def features(self, requests: Sequence[DecodeRequest]) -> Tensor:
        mel = log_mel(requests, self.model.dims.n_mels, self.device)
        features: Tensor = self.model.encoder(mel.to(self.dtype))
        return features

    @torch.inference_mode()
    def select(self, features: Tensor, rows: Sequence[int]) -> Tensor:
        return features[list(rows)]

    @torch.inference_mode()
    def detect_language(self, features: Tensor) -> list[Mapping[str, float]]:
        _, found = detect_language(self.model, features, self.prompt.tokenizer())
        return list(found)

    @torch.inference_mode()
    def generate(
        self, features: Tensor, requests: Sequence[DecodeRequest], prefixes: Sequence[tuple[int, ...]] = ()
    ) -> list[Decoded]:
        """Together run those that share language, task and prompt, and one by one what has a prefix."""
        if prefixes:
            rows = zip(requests, torch.split(features, 1), prefixes, strict=True)
            return [self.decode([request], row, prefix)[0] for request, row, prefix in rows]
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, request in enumerate(requests):
            own = (request.options.language, request.options.task, request.previous)
            groups.setdefault(own, []).append(i)
        decoded: dict[int, Decoded] = {}
        for group in groups.values():
            answers = self.decode([requests[i] for i in group], features[group])
            decoded.update(zip(group, answers, strict=True))
        return [decoded[i] for i in range(len(requests))]

    def decode(
        self, requests: Sequence[DecodeRequest], features: Tensor, prefix: tuple[int, ...] | None = None
    ) -> list[Decoded]:
        """Requests that share everything the decoder is shown, the prefix included."""
        first = requests[0]
        options = DecodingOptions(
            task=first.options.task,
            language=first.options.language,
            temperature=first.options.temperature,
            prompt=list(first.previous[1:]),  # the task adds the start token itself
            prefix=None if prefix is None else list(prefix),
            without_timestamps=prefix is not None,
            suppress_blank=prefix is None,
            max_initial_timestamp=LATEST_FIRST_TIMESTAMP_S,
        )
        wanted = [request.options.logprobs for request in requests]
        return Task(self.model, options).decoded(features, wanted)

    @torch.inference_mode()
    def align(
        self, features: Tensor, requests: Sequence[DecodeRequest], texts: Sequence[Sequence[int]]
    ) -> list[Sequence[Timing]]:
        model = DecoderOnly(self.model)
        aligned: list[Sequence[Timing]] = []
        for request, row, text in zip(requests, features, texts, strict=True):
            tokenizer = self.prompt.tokenizer(request.options.language, request.options.task)
            found = find_alignment(model, tokenizer, text, row, request.sound_frames)
            aligned.append([as_timing(word) for word in found])
        return aligned


class Task(DecodingTask):  # type: ignore[misc]  # openai-whisper has no types
    """openai-whisper's decoding, of what is encoded already, keeping each token's probability."""

    def __init__(self, model: Whisper, options: DecodingOptions) -> None:
        super().__init__(model, options)
        self.decoder = Recorder(options.temperature, self.tokenizer.eot)

    def decoded(self, features: Tensor, logprobs: Sequence[bool]) -> list[Decoded]:
        """`logprobs`: whether each row wants those of its tokens."""
        results = self.run(features)
        steps = torch.stack(self.decoder.steps, dim=1).tolist()  # of each row, one per token
        return [
            Decoded(
                tuple(result.tokens),
                result.avg_logprob * (len(result.tokens) + 1),
                result.no_speech_prob,
                tuple(own[: len(result.tokens)]) if wanted else (),
            )
            for result, own, wanted in zip(results, steps, logprobs, strict=True)
        ]

    def _get_audio_features(self, mel: Tensor) -> Tensor:
        return mel


class Recorder(GreedyDecoder):  # type: ignore[misc]  # openai-whisper has no types
    """Keeps what each step adds to the log-probabilities, shape (n,)."""

    def __init__(self, temperature: float, eot: int) -> None:
        super().__init__(temperature, eot)
        self.steps: list[Tensor] = []

    def update(self, tokens: Tensor, logits: Tensor, sum_logprobs: Tensor) -> tuple[Tensor, bool]:
        before = sum_logprobs.clone()
        updated: tuple[Tensor, bool] = super().update(tokens, logits, sum_logprobs)
        self.steps.append(sum_logprobs - before)
        return updated


class DecoderOnly:
    """A model that is called with encoder output in place of mel, so that aligning encodes nothing again."""

    def __init__(self, model: Whisper) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, features: Tensor, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model.decoder(tokens, features)
        return logits


def as_timing(word: WordTiming) -> Timing:
    return Timing(word.word, list(word.tokens), float(word.start), float(word.end), float(word.probability))


def number_type(settings: EngineSettings) -> torch.dtype:
    name = BEST_TYPE[settings.device] if settings.compute_type == "auto" else settings.compute_type
    if name not in TYPES:
        raise ConfigError(
            f"the engine 'openai_whisper' cannot compute in {name!r}; it can in {', '.join(TYPES)}"
        )
    return TYPES[name]


def cast(model: Whisper, dtype: torch.dtype) -> Whisper:
    """Cast the large tensors once, instead of in every batch; layer norms stay in float32."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Embedding):
            module.to(dtype)
    return model
