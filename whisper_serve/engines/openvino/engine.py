"""OpenVINO: int8 and bfloat16 on x86 CPUs. Windows in, what was heard out."""

from collections.abc import Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np
import torch
from whisper.tokenizer import Tokenizer

from whisper_serve.engines import EngineSettings, Outcome, Prepared
from whisper_serve.engines.openvino.alignment import align
from whisper_serve.engines.openvino.generate import Cache, Prompt, generate, probabilities
from whisper_serve.engines.openvino.logit_filters import Rules
from whisper_serve.engines.openvino.runtime import Memory, Network
from whisper_serve.engines.whisper.batch_decoder import BatchDecoder, DecodeRequest, complete, log_mel
from whisper_serve.engines.whisper.convert import ctranslate2_folder, vocabulary_of
from whisper_serve.engines.whisper.prompt import CONTEXT_TOKENS
from whisper_serve.engines.whisper.segments import Answer, Decoded
from whisper_serve.engines.whisper.word_timestamps import Timing, settle
from whisper_serve.errors import ConfigError
from whisper_serve.types import Window

LARGEST_BATCH = 8  # more gain little and keep the first waiting


class OpenVINOEngine:
    """Weights are a CTranslate2 folder, or a checkpoint, converted once beside it. Raises WeightsError, ConfigError."""

    def __init__(self, settings: EngineSettings) -> None:
        if settings.device != "cpu":
            raise ConfigError("the engine 'openvino' runs on CPUs only")
        torch.set_num_threads(1)
        self.workers = settings.cpus
        self.largest_batch = LARGEST_BATCH
        self.network = Network(
            ctranslate2_folder(settings.weights, "openvino"), self.workers, settings.compute_type
        )
        dims = self.network.dims
        self.vocabulary = vocabulary_of(dims)
        self.rules = Rules(self.vocabulary.tokenizer(), self.vocabulary.suppressed())
        adaptive = settings.context == "adaptive"
        self.hearing = BatchDecoder(self.listen, self.vocabulary, adaptive, self.largest_batch, self.encode)

    def prepare(self, window: Window) -> Prepared:
        return self.hearing.prepare(window)

    def transcribe(self, batch: Sequence[Prepared]) -> list[Outcome]:
        return self.hearing.hear(batch)

    def gpu_memory_gb(self) -> float:
        return 0.0

    def encode(self, stretch: DecodeRequest) -> Memory:
        return self.network.encode(log_mel([stretch], self.network.dims.n_mels).numpy())

    def listen(self, stretches: Sequence[DecodeRequest]) -> list[Decoded]:
        """Detect, decode and align stretches of one kind, encoded already."""
        languages = self.languages(stretches)
        tokenizers = [
            self.vocabulary.tokenizer(language, s.options.task)
            for s, (language, _) in zip(stretches, languages, strict=True)
        ]
        answers = complete(
            self.decode(stretches, tokenizers),
            stretches,
            self.rules.zero,
            lambda rows, said: self.decode([stretches[i] for i in rows], [tokenizers[i] for i in rows], said),
        )
        words = [self.align(*one) for one in zip(stretches, answers, tokenizers, strict=True)]
        parts = zip(languages, answers, words, strict=True)
        return [Decoded(*language, answer, timings) for language, answer, timings in parts]

    def languages(self, stretches: Sequence[DecodeRequest]) -> list[tuple[str, float]]:
        """Code and probability of each stretch's language: as given, or the likeliest."""
        if stretches[0].options.language is not None:  # then all of this kind have one
            return [(s.options.language or "", 1.0) for s in stretches]
        tokenizer = self.vocabulary.tokenizer()
        with self.network.decoder() as decoder:
            cache = Cache(self.network, decoder, [s.encoded for s in stretches])
            said = cache.show([[tokenizer.sot]] * len(stretches), np.zeros((len(stretches), 1), np.int64))
            shares = probabilities(said.logits[:, 0][:, tokenizer.all_language_tokens])
        best = shares.argmax(axis=1)
        return [(tokenizer.all_language_codes[i], float(row[i])) for i, row in zip(best, shares, strict=True)]

    def decode(
        self,
        stretches: Sequence[DecodeRequest],
        tokenizers: Sequence[Tokenizer],
        said: Sequence[tuple[int, ...]] | None = None,
    ) -> list[Answer]:
        """With timestamps; or, where something was `said` already, what follows it without."""
        prompts, options = [], stretches[0].options
        for i, (stretch, tokenizer) in enumerate(zip(stretches, tokenizers, strict=True)):
            tokens = (*stretch.previous, *tokenizer.sot_sequence)
            most = stretch.max_tokens
            if said:
                tokens, most = (*tokens, tokenizer.no_timestamps, *said[i]), most - len(said[i])
            most = max(1, min(most, CONTEXT_TOKENS - len(tokens)))
            seed = crc32(stretch.samples.tobytes()) if options.temperature else 0
            prompts.append(Prompt(stretch.encoded, tokens, len(stretch.previous), most, seed))
        answers = generate(self.network, self.rules, prompts, not said, options.temperature)
        return answers if options.logprobs else [replace(answer, logprobs=()) for answer in answers]

    def align(self, stretch: DecodeRequest, answer: Answer, tokenizer: Tokenizer) -> tuple[Timing, ...]:
        """Its words and their times, where asked for."""
        if not stretch.options.word_timestamps:
            return ()
        text = [t for t in answer.tokens if t < tokenizer.eot]
        return settle(align(self.network, stretch.encoded, text, tokenizer, stretch.sound_frames))
