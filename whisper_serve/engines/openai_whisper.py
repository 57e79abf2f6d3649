"""openai-whisper on torch: the reference, and for GPUs. Windows in, what was heard out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from whisper.decoding import DecodingOptions, DecodingTask, GreedyDecoder, detect_language
from whisper.model import Whisper
from whisper.timing import WordTiming, find_alignment

from whisper_serve.engines import EngineSettings, Outcome, Prepared
from whisper_serve.engines.whisper.batch_decoder import BatchDecoder, DecodeRequest, complete, log_mel
from whisper_serve.engines.whisper.convert import as_openai_whisper
from whisper_serve.engines.whisper.prompt import LATEST_FIRST_TIMESTAMP_S, Vocabulary
from whisper_serve.engines.whisper.segments import Answer, Decoded
from whisper_serve.engines.whisper.word_timestamps import Timing, settle
from whisper_serve.errors import ConfigError, WeightsError
from whisper_serve.types import Window

LARGEST_BATCH = {"cpu": 4, "cuda": 32}
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
BEST_TYPE = {"cpu": "float32", "cuda": "float16"}


class OpenAIWhisperEngine:
    """Always shows the model 30 s, as openai-whisper does.

    Weights are a checkpoint or a CTranslate2 folder. Raises WeightsError, ConfigError.
    """

    def __init__(self, settings: EngineSettings) -> None:
        if settings.weights is None:
            raise WeightsError("the engine 'openai_whisper' needs a model")
        self.workers = 1
        self.largest_batch = LARGEST_BATCH[settings.device]
        torch.set_num_threads(settings.cpus)
        if settings.device == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
            torch.backends.cudnn.benchmark = True
        self.device = settings.device
        self.dtype = number_type(settings)
        self.model = cast(as_openai_whisper(settings.weights), self.dtype).to(settings.device).eval()
        self.vocabulary = Vocabulary(self.model.is_multilingual, self.model.num_languages)
        self.hearing = BatchDecoder(self.listen, self.vocabulary, False, self.largest_batch)

    def prepare(self, window: Window) -> Prepared:
        return self.hearing.prepare(window)

    @torch.inference_mode()
    def transcribe(self, batch: Sequence[Prepared]) -> list[Outcome]:
        return self.hearing.hear(batch)

    def gpu_memory_gb(self) -> float:
        return torch.cuda.memory_allocated() / 1e9 if self.device == "cuda" else 0.0

    def listen(self, stretches: Sequence[DecodeRequest]) -> list[Decoded]:
        """Encode all stretches at once; decode together those that share language, task and prompt."""
        mel = log_mel(stretches, self.model.dims.n_mels, self.device)
        features = self.model.encoder(mel.to(self.dtype))
        languages = self.languages(stretches, features)
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, stretch in enumerate(stretches):
            groups.setdefault((languages[i][0], stretch.options.task, stretch.previous), []).append(i)
        decoded: dict[int, Decoded] = {}
        for rows in groups.values():
            group = [stretches[i] for i in rows]
            answers = self.decode(group, features[rows], languages[rows[0]][0])
            words = self.align(group, features[rows], languages[rows[0]][0], answers)
            for i, answer, timings in zip(rows, answers, words, strict=True):
                decoded[i] = Decoded(*languages[i], answer, timings)
        return [decoded[i] for i in range(len(stretches))]

    def languages(self, stretches: Sequence[DecodeRequest], features: Tensor) -> list[tuple[str, float]]:
        """Code and probability of each stretch's language: as given, or the likeliest."""
        if stretches[0].options.language is not None:  # then all of this kind have one
            return [(s.options.language or "", 1.0) for s in stretches]
        _, ranked = detect_language(self.model, features, self.vocabulary.tokenizer())
        return [max(probabilities.items(), key=lambda of: of[1]) for probabilities in ranked]

    def decode(self, stretches: Sequence[DecodeRequest], features: Tensor, language: str) -> list[Answer]:
        """The answers to stretches that share everything asked; `features` has shape (n, 1500, width)."""
        first = stretches[0]
        options = DecodingOptions(
            task=first.options.task,
            language=language,
            temperature=first.options.temperature,
            prompt=list(first.previous[1:]),  # the task adds the start token itself
            max_initial_timestamp=LATEST_FIRST_TIMESTAMP_S,
        )

        def go_on(rows: list[int], said: list[tuple[int, ...]]) -> list[Answer]:
            rest = replace(options, without_timestamps=True, suppress_blank=False)
            tasks = [Task(self.model, replace(rest, prefix=list(words))) for words in said]
            return [
                task.answers(features[i : i + 1], first.options.logprobs)[0]
                for i, task in zip(rows, tasks, strict=True)
            ]

        answers = Task(self.model, options).answers(features, first.options.logprobs)
        return complete(answers, stretches, self.vocabulary.tokenizer().timestamp_begin, go_on)

    def align(
        self, stretches: Sequence[DecodeRequest], features: Tensor, language: str, answers: Sequence[Answer]
    ) -> list[tuple[Timing, ...]]:
        """Words and their times for each stretch, where asked for."""
        if not stretches[0].options.word_timestamps:
            return [()] * len(stretches)
        tokenizer = self.vocabulary.tokenizer(language, stretches[0].options.task)
        model = DecoderOnly(self.model)
        aligned = []
        for stretch, heard, answer in zip(stretches, features, answers, strict=True):
            text = [t for t in answer.tokens if t < tokenizer.eot]
            found = find_alignment(model, tokenizer, text, heard, stretch.sound_frames)
            aligned.append(settle([as_timing(word) for word in found]))
        return aligned


class Task(DecodingTask):  # type: ignore[misc]  # openai-whisper has no types
    """openai-whisper's decoding, of what is encoded already, keeping each token's probability."""

    def __init__(self, model: Whisper, options: DecodingOptions) -> None:
        super().__init__(model, options)
        self.decoder = Recorder(options.temperature, self.tokenizer.eot)

    def answers(self, features: Tensor, logprobs: bool) -> list[Answer]:
        results = self.run(features)
        steps = torch.stack(self.decoder.steps, dim=1).tolist()  # of each stretch, one per token
        return [
            Answer(
                tuple(result.tokens),
                result.avg_logprob * (len(result.tokens) + 1),
                result.no_speech_prob,
                tuple(own[: len(result.tokens)]) if logprobs else (),
            )
            for result, own in zip(results, steps, strict=True)
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
    """A model that is called with encoder output in place of mel, so that aligning encodes nothing twice."""

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
    """Cast the large tensors once, instead of in every pass; layer norms stay in float32."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Embedding):
            module.to(dtype)
    return model
