"""Whisper on OpenVINO as an engine: int8 and bfloat16 on x86 CPUs."""

from collections.abc import Hashable, Mapping, Sequence
from zlib import crc32

import numpy as np
import torch

from whisper_serve.engines import EngineSettings
from whisper_serve.engines.openvino.alignment import align
from whisper_serve.engines.openvino.generate import Cache, Row, generate, probabilities
from whisper_serve.engines.openvino.logit_filters import LogitFilters
from whisper_serve.engines.openvino.runtime import CrossKV, Network
from whisper_serve.engines.whisper.convert import ctranslate2_folder
from whisper_serve.engines.whisper.ct2_layout import prompt_tokens_of
from whisper_serve.engines.whisper.engine import WhisperEngine
from whisper_serve.engines.whisper.model import Decoded
from whisper_serve.engines.whisper.prompt import CONTEXT_TOKENS
from whisper_serve.engines.whisper.request import DecodeRequest, log_mel
from whisper_serve.engines.whisper.word_timestamps import Timing
from whisper_serve.errors import ConfigError
from whisper_serve.types import Options

LARGEST_BATCH = 8  # more gain little and keep the first waiting

Features = Sequence[CrossKV]  # the decoder's cross-attention keys and values, of each request


def load(settings: EngineSettings) -> WhisperEngine[Features]:
    return WhisperEngine(OpenVINOModel(settings))


class OpenVINOModel:
    """Weights are a CTranslate2 folder, or a checkpoint, converted once beside it. Raises WeightsError, ConfigError."""

    name = "openvino"

    def __init__(self, settings: EngineSettings) -> None:
        if settings.device != "cpu":
            raise ConfigError(f"the engine {self.name!r} runs on CPUs only")
        torch.set_num_threads(1)
        self.workers = settings.cpus
        self.largest_batch = LARGEST_BATCH
        self.adaptive = settings.context == "adaptive"
        folder = ctranslate2_folder(settings.weights, self.name)
        self.network = Network(folder, self.workers, settings.compute_type)
        self.prompt = prompt_tokens_of(self.network.dims)
        self.filters = LogitFilters(self.prompt.tokenizer(), self.prompt.suppressed())

    def batch_key(self, options: Options) -> Hashable:
        """Rows are masked, so prompts of any length mix; only the temperature is one for all."""
        return options.temperature

    def gpu_memory_gb(self) -> float:
        return 0.0

    def encode(self, request: DecodeRequest) -> CrossKV:
        return self.network.encode(log_mel([request], self.network.dims.n_mels).numpy())

    def features(self, requests: Sequence[DecodeRequest]) -> Features:
        return [request.encoded for request in requests]

    def select(self, features: Features, rows: Sequence[int]) -> Features:
        return [features[i] for i in rows]

    def detect_language(self, features: Features) -> list[Mapping[str, float]]:
        tokenizer = self.prompt.tokenizer()
        with self.network.decoder() as decoder:
            cache = Cache(self.network, decoder, features)
            step = cache.prefill([[tokenizer.sot]] * len(features), np.zeros((len(features), 1), np.int64))
            shares = probabilities(step.logits[:, 0][:, tokenizer.all_language_tokens])
        codes = tokenizer.all_language_codes
        return [dict(zip(codes, row, strict=True)) for row in shares.tolist()]

    def generate(
        self,
        features: Features,
        requests: Sequence[DecodeRequest],
        prefixes: Sequence[tuple[int, ...]] = (),
    ) -> list[Decoded]:
        temperature = requests[0].options.temperature
        rows = []
        for i, (request, cross_kv) in enumerate(zip(requests, features, strict=True)):
            tokens = (*request.previous, *self.prompt.start(request.options))
            most = request.max_tokens
            if prefixes:
                tokens = (*tokens, self.prompt.tokenizer().no_timestamps, *prefixes[i])
                most -= len(prefixes[i])
            most = max(1, min(most, CONTEXT_TOKENS - len(tokens)))
            seed = crc32(request.samples.tobytes()) if temperature else 0
            rows.append(Row(cross_kv, tokens, len(request.previous), most, seed, request.options.logprobs))
        return generate(self.network, self.filters, rows, not prefixes, temperature)

    def align(
        self, features: Features, requests: Sequence[DecodeRequest], texts: Sequence[Sequence[int]]
    ) -> list[Sequence[Timing]]:
        aligned: list[Sequence[Timing]] = []
        for request, cross_kv, text in zip(requests, features, texts, strict=True):
            tokenizer = self.prompt.tokenizer(request.options.language, request.options.task)
            aligned.append(align(self.network, cross_kv, text, tokenizer, request.sound_frames))
        return aligned
