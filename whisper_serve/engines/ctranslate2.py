"""Whisper on CTranslate2: int8 on a CPU, half precision on a GPU."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import zip_longest

import ctranslate2
import numpy as np
import torch
from numpy.typing import NDArray
from whisper.audio import N_SAMPLES, log_mel_spectrogram

from whisper_serve.engines import EngineSettings
from whisper_serve.engines.whisper.convert import ctranslate2_folder
from whisper_serve.engines.whisper.engine import WhisperEngine
from whisper_serve.engines.whisper.model import Decoded
from whisper_serve.engines.whisper.prompt import CONTEXT_TOKENS, LATEST_FIRST_TIMESTAMP, PromptTokens
from whisper_serve.engines.whisper.request import DecodeRequest, log_mel
from whisper_serve.engines.whisper.word_timestamps import Timing, as_timings
from whisper_serve.types import Options

LARGEST_BATCH = {"cpu": 8, "cuda": 32}  # more gain little and keep the first waiting
BEST_TYPE = {"cpu": "int8", "cuda": "float16"}

Array = NDArray[np.float32]


def load(settings: EngineSettings) -> WhisperEngine[ctranslate2.StorageView]:
    return WhisperEngine(CTranslate2Model(settings))


class CTranslate2Model:
    """Weights are a CTranslate2 folder, or a checkpoint, converted once beside it. Raises WeightsError.

    Features of n requests have shape (n, frames of the longest / 2, width of the model).
    """

    name = "ctranslate2"

    def __init__(self, settings: EngineSettings) -> None:
        torch.set_num_threads(1)
        self.device = settings.device
        self.workers = settings.cpus if settings.device == "cpu" else 1
        self.largest_batch = LARGEST_BATCH[settings.device]
        self.adaptive = settings.context == "adaptive"
        best = settings.compute_type == "auto"
        self.model = ctranslate2.models.Whisper(
            str(ctranslate2_folder(settings.weights, self.name)),
            device=settings.device,
            compute_type=BEST_TYPE[settings.device] if best else settings.compute_type,
            intra_threads=1,  # the decoder gains nothing from a second; two workers are twice as fast
            inter_threads=self.workers,
        )
        self.prompt = PromptTokens(self.model.is_multilingual, self.model.num_languages)
        self.silence = self.encode_silence()

    def batch_key(self, options: Options) -> Hashable:
        """CTranslate2 takes one temperature, and prompts with the start-of-transcript at one place."""
        return options.temperature, options.logprobs, len(self.prompt.previous(options))

    def gpu_memory_gb(self) -> float:
        """Of all processes on the GPU: CTranslate2 does not tell its own share. 0 where torch cannot see it."""
        if self.device == "cpu" or not torch.cuda.is_available():
            return 0.0
        free, total = torch.cuda.mem_get_info()
        return (total - free) / 1e9

    def encode(self, request: DecodeRequest) -> Array | None:
        """Shape (frames / 2, width of the model). A GPU encodes a batch together; a CPU gains nothing from that."""
        return self.encode_mel(log_mel([request], self.model.n_mels)) if self.device == "cpu" else None

    def encode_silence(self) -> Array:
        """Encoder output of 30 s of silence; not needed, and empty, on a GPU."""
        if self.device != "cpu":
            return np.empty((0, 0), np.float32)
        return self.encode_mel(log_mel_spectrogram(np.zeros(N_SAMPLES, np.float32), self.model.n_mels)[None])

    def encode_mel(self, mel: torch.Tensor) -> Array:
        """Encoder output of shape (frames / 2, width of the model) of a mel of shape (1, mels, frames)."""
        encoded = np.array(self.model.encode(as_view(mel)))
        return encoded.reshape(encoded.shape[1:])

    def features(self, requests: Sequence[DecodeRequest]) -> ctranslate2.StorageView:
        """What was encoded at its own length is topped up with what the encoder makes of silence at that place."""
        own = [r.encoded for r in requests if r.encoded is not None]
        if len(own) < len(requests):
            return self.model.encode(as_view(log_mel(requests, self.model.n_mels)))
        features = np.empty((len(own), max(len(f) for f in own), self.silence.shape[1]), np.float32)
        for row, known in zip(features, own, strict=True):
            row[: len(known)] = known
            row[len(known) :] = self.silence[len(known) : len(row)]
        return ctranslate2.StorageView.from_array(features)

    def select(self, features: ctranslate2.StorageView, rows: Sequence[int]) -> ctranslate2.StorageView:
        return selected(features, rows)

    def detect_language(self, features: ctranslate2.StorageView) -> list[Mapping[str, float]]:
        found = self.model.detect_language(features)
        return [{token.strip("<|>"): probability for token, probability in ranked} for ranked in found]

    def generate(
        self,
        features: ctranslate2.StorageView,
        requests: Sequence[DecodeRequest],
        prefixes: Sequence[tuple[int, ...]] = (),
    ) -> list[Decoded]:
        prompts = [[*r.previous, *self.prompt.start(r.options)] for r in requests]
        most = max(r.max_tokens for r in requests)
        # CTranslate2 counts the prompt in, then generates at most half of it, and a prefix counts too.
        longest = min(CONTEXT_TOKENS, max(2 * most, len(prompts[0]) + most))
        if prefixes:
            no_timestamps = self.prompt.tokenizer().no_timestamps
            prompts = [[*p, no_timestamps, *prefix] for p, prefix in zip(prompts, prefixes, strict=True)]
        options = requests[0].options
        results = self.model.generate(
            features,
            prompts,
            beam_size=1,
            max_length=longest,
            sampling_topk=0 if options.temperature > 0 else 1,
            sampling_temperature=options.temperature or 1.0,
            suppress_tokens=self.prompt.suppressed(),
            max_initial_timestamp_index=LATEST_FIRST_TIMESTAMP,
            return_scores=True,
            return_no_speech_prob=True,
            return_logits_vocab=options.logprobs,
        )
        return [as_decoded(r, len(p)) for r, p in zip_longest(results, prefixes, fillvalue=())]

    def align(
        self,
        features: ctranslate2.StorageView,
        requests: Sequence[DecodeRequest],
        texts: Sequence[Sequence[int]],
    ) -> list[Sequence[Timing]]:
        frames = [r.sound_frames for r in requests]
        starts = [self.prompt.start(r.options) for r in requests]  # mostly alike: a call takes one for all
        found = {start: self.model.align(features, list(start), texts, frames) for start in set(starts)}
        aligned: list[Sequence[Timing]] = []
        for i, (request, text) in enumerate(zip(requests, texts, strict=True)):
            result = found[starts[i]][i]
            tokenizer = self.prompt.tokenizer(request.options.language, request.options.task)
            aligned.append(as_timings(result.alignments, result.text_token_probs, text, tokenizer))
        return aligned


def selected(features: ctranslate2.StorageView, rows: Sequence[int]) -> ctranslate2.StorageView:
    """Some rows, copied; the same where they are all."""
    if len(rows) == features.shape[0]:
        return features
    # torch reads views of a GPU's memory only
    array = torch.as_tensor(features) if features.device == "cuda" else np.array(features)
    return ctranslate2.StorageView.from_array(array[list(rows)])


def as_view(mel: torch.Tensor) -> ctranslate2.StorageView:
    return ctranslate2.StorageView.from_array(mel.numpy())


def as_decoded(result: ctranslate2.models.WhisperGenerationResult, prefix: int) -> Decoded:
    """A result without the `prefix` tokens it begins with, which CTranslate2 repeats at no cost in score."""
    tokens = result.sequences_ids[0]
    # The last step is the end-of-text's; it counts in the score, but not in what the score is divided by.
    steps = zip(result.logits[0] if result.logits else (), tokens, strict=False)
    logprobs = tuple(logprob(logits, token) for logits, token in steps)
    return Decoded(
        tuple(tokens[prefix:]), result.scores[0] * len(tokens), result.no_speech_prob, logprobs[prefix:]
    )


def logprob(logits: ctranslate2.StorageView, token: int) -> float:
    return float(torch.log_softmax(torch.from_numpy(np.array(logits)), 0)[token])
