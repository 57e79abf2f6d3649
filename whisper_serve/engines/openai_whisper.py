"""openai-whisper on torch: the reference, and for GPUs. Windows in, what was heard out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from whisper.decoding import DecodingOptions, DecodingTask, GreedyDecoder
from whisper.model import Whisper
from whisper.timing import find_alignment
from whisper.tokenizer import Tokenizer

from whisper_serve.engines import EngineSettings, Outcome
from whisper_serve.engines.convert import as_openai_whisper
from whisper_serve.engines.decoding import FRAMES_PER_SECOND, Hearing, Stretch, complete, log_mel
from whisper_serve.engines.segments import Answer, Decoded
from whisper_serve.engines.vocabulary import LATEST_FIRST_TIMESTAMP_S, Vocabulary
from whisper_serve.engines.words import Timing, settle
from whisper_serve.errors import ConfigError, WeightsError
from whisper_serve.types import Window

LARGEST_BATCH = {"cpu": 4, "cuda": 32}
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
BEST_TYPE = {"cpu": "float32", "cuda": "float16"}


class OpenAIWhisperEngine:
    """Always shows the model 30 s, as openai-whisper does."""

    def __init__(self, settings: EngineSettings) -> None:
        if settings.weights is None:
            raise WeightsError("the engine 'openai_whisper' needs a model")
        torch.set_num_threads(settings.threads)
        set_up_gpu()
        self.device = settings.device
        self.dtype = number_type(settings)
        self.model = cast(as_openai_whisper(settings.weights), self.dtype).to(settings.device).eval()
        self.vocabulary = Vocabulary(self.model.is_multilingual, self.model.num_languages)
        self.hearing = Hearing(self.listen, self.vocabulary, False, LARGEST_BATCH[settings.device])

    @torch.inference_mode()
    def transcribe(self, windows: Sequence[Window]) -> list[Outcome]:
        return self.hearing.hear(windows)

    def gpu_memory_gb(self) -> float:
        return torch.cuda.memory_allocated() / 1e9 if self.device == "cuda" else 0.0

    def listen(self, stretches: Sequence[Stretch]) -> list[Decoded]:
        """Encode all stretches at once; decode together those that share language, task and prompt."""
        mel = log_mel(stretches, self.model.dims.n_mels, self.device)
        features = self.model.encoder(mel.to(self.dtype))
        languages = self.languages(stretches, features)
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, stretch in enumerate(stretches):
            groups.setdefault((languages[i][0], stretch.options.task, stretch.previous), []).append(i)
        decoded: dict[int, Decoded] = {}
        for rows in groups.values():
            ...
        return [decoded[i] for i in range(len(stretches))]
