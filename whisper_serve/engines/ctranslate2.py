"""CTranslate2: int8 on a CPU, half precision on a GPU. Windows in, what was heard out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import ctranslate2
import numpy as np
import torch
from numpy.typing import NDArray
from whisper.audio import N_SAMPLES, log_mel_spectrogram
from whisper.tokenizer import Tokenizer

from whisper_serve.engines import EngineSettings, Outcome, Prepared
from whisper_serve.engines.whisper.batch_decoder import BatchDecoder, DecodeRequest, complete, log_mel
from whisper_serve.engines.whisper.convert import ctranslate2_folder
from whisper_serve.engines.whisper.prompt import CONTEXT_TOKENS, LATEST_FIRST_TIMESTAMP, Vocabulary
from whisper_serve.engines.whisper.segments import Answer, Decoded
from whisper_serve.engines.whisper.word_timestamps import Timing, as_timings, settle
from whisper_serve.types import Window

LARGEST_BATCH = {"cpu": 8, "cuda": 32}  # more gain little and keep the first waiting
BEST_TYPE = {"cpu": "int8", "cuda": "float16"}

Features = NDArray[np.float32]  # shape (frames / 2, width of the model)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Stretches, heard by the encoder: all that decoding needs."""

    stretches: Sequence[DecodeRequest]
    features: ctranslate2.StorageView  # shape (len(stretches), mel frames / 2, width of the model)
    languages: Sequence[tuple[str, float]]  # code and probability
    tokenizers: Sequence[Tokenizer]  # of their languages and tasks

    def only(self, rows: Sequence[int]) -> "Encoded":
        if len(rows) == len(self.stretches):
            return self
        # torch reads views of a GPU's memory only
        on_gpu = self.features.device == "cuda"
        features = torch.as_tensor(self.features) if on_gpu else np.array(self.features)
        return Encoded(
            [self.stretches[i] for i in rows],
            ctranslate2.StorageView.from_array(features[list(rows)]),
            [self.languages[i] for i in rows],
            [self.tokenizers[i] for i in rows],
        )


class CTranslate2Engine:
    """Weights are a CTranslate2 folder, or a checkpoint, converted once beside it. Raises WeightsError."""

    def __init__(self, settings: EngineSettings) -> None:
        torch.set_num_threads(1)
        self.device = settings.device
        self.workers = settings.cpus if settings.device == "cpu" else 1
        self.largest_batch = LARGEST_BATCH[settings.device]
        best = settings.compute_type == "auto"
        self.model = ctranslate2.models.Whisper(
            str(ctranslate2_folder(settings.weights, "ctranslate2")),
            device=settings.device,
            compute_type=BEST_TYPE[settings.device] if best else settings.compute_type,
            intra_threads=1,  # the decoder gains nothing from a second; two workers are twice as fast
            inter_threads=self.workers,
        )
        self.silence = self.encode_silence()
        self.vocabulary = Vocabulary(self.model.is_multilingual, self.model.num_languages)
        adaptive = settings.context == "adaptive"
        one_by_one = self.encode_one if self.device == "cpu" else None
        self.hearing = BatchDecoder(self.listen, self.vocabulary, adaptive, self.largest_batch, one_by_one)

    def prepare(self, window: Window) -> Prepared:
        return self.hearing.prepare(window)

    def transcribe(self, batch: Sequence[Prepared]) -> list[Outcome]:
        return self.hearing.hear(batch)

    def gpu_memory_gb(self) -> float:
        """Of all processes on the GPU: CTranslate2 does not tell its own share. 0 where torch cannot see it."""
        if self.device == "cpu" or not torch.cuda.is_available():
            return 0.0
        free, total = torch.cuda.mem_get_info()
        return (total - free) / 1e9

    def listen(self, stretches: Sequence[DecodeRequest]) -> list[Decoded]:
        """One pass over stretches of one kind: encode once, then detect, decode and align from that."""
        encoded = self.encode(stretches)
        answers = complete(
            self.generate(encoded),
            stretches,
            encoded.tokenizers[0].timestamp_begin,
            lambda rows, said: self.generate(encoded.only(rows), said),
        )
        words: list[tuple[Timing, ...]] = [()] * len(stretches)
        if stretches[0].options.word_timestamps:
            words = self.align(encoded, answers)
        parts = zip(encoded.languages, answers, words, strict=True)
        return [Decoded(*language, answer, timings) for language, answer, timings in parts]

    def encode(self, stretches: Sequence[DecodeRequest]) -> Encoded:
        features = self.features(stretches)
        given = [s.options.language for s in stretches]
        if None in given:  # then all of this kind are
            best = [ranked[0] for ranked in self.model.detect_language(features)]
            languages = [(token.strip("<|>"), probability) for token, probability in best]
        else:
            languages = [(language or "", 1.0) for language in given]
        tokenizers = [
            self.vocabulary.tokenizer(language, s.options.task)
            for s, (language, _) in zip(stretches, languages, strict=True)
        ]
        return Encoded(stretches, features, languages, tokenizers)

    def features(self, stretches: Sequence[DecodeRequest]) -> ctranslate2.StorageView:
        """Shape (len(stretches), frames of the longest / 2, width of the model).

        A GPU encodes them together. A CPU would gain nothing from that: there each was encoded at its own
        length, and is topped up with what the encoder makes of silence at that place.
        """
        own = [s.encoded for s in stretches if s.encoded is not None]
        if len(own) < len(stretches):
            return self.model.encode(as_view(log_mel(stretches, self.model.n_mels)))
        features = np.empty((len(own), max(len(f) for f in own), self.silence.shape[1]), np.float32)
        for row, known in zip(features, own, strict=True):
            row[: len(known)] = known
            row[len(known) :] = self.silence[len(known) : len(row)]
        return ctranslate2.StorageView.from_array(features)

    def encode_silence(self) -> NDArray[np.float32]:
        """What the encoder makes of 30 s of nothing; not needed, and empty, on a GPU."""
        if self.device != "cpu":
            return np.empty((0, 0), np.float32)
        return self.encode_mel(log_mel_spectrogram(np.zeros(N_SAMPLES, np.float32), self.model.n_mels)[None])

    def encode_one(self, stretch: DecodeRequest) -> Features:
        return self.encode_mel(log_mel([stretch], self.model.n_mels))

    def encode_mel(self, mel: torch.Tensor) -> Features:
        """Shape (1, mels, frames) in, (frames / 2, width of the model) out."""
        encoded = np.array(self.model.encode(as_view(mel)))
        return encoded.reshape(encoded.shape[1:])

    def generate(self, encoded: Encoded, said: Sequence[Sequence[int]] = ()) -> list[Answer]:
        """Decode with timestamps; or, where something was `said` already, what follows it without."""
        stretches, tokenizers = encoded.stretches, encoded.tokenizers
        prompts = [[*s.previous, *t.sot_sequence] for s, t in zip(stretches, tokenizers, strict=True)]
        most = max(s.max_tokens for s in stretches)
        # CTranslate2 counts the prompt in, then generates at most half of it, and what was said counts too.
        longest = min(CONTEXT_TOKENS, max(2 * most, len(prompts[0]) + most))
        if said:
            prompts = [[*p, tokenizers[0].no_timestamps, *s] for p, s in zip(prompts, said, strict=True)]
        options = stretches[0].options
        results = self.model.generate(
            encoded.features,
            prompts,
            beam_size=1,
            max_length=longest,
            sampling_topk=0 if options.temperature > 0 else 1,
            sampling_temperature=options.temperature or 1.0,
            suppress_tokens=self.vocabulary.suppressed(),
            max_initial_timestamp_index=LATEST_FIRST_TIMESTAMP,
            return_scores=True,
            return_no_speech_prob=True,
            return_logits_vocab=options.logprobs,
        )
        return [as_answer(r, len(s)) for r, s in zip_longest(results, said, fillvalue=())]

    def align(self, encoded: Encoded, answers: Sequence[Answer]) -> list[tuple[Timing, ...]]:
        """Words and their times, for each stretch."""
        tokenizers = encoded.tokenizers
        texts = [[t for t in answer.tokens if t < tokenizers[0].eot] for answer in answers]
        frames = [s.sound_frames for s in encoded.stretches]
        starts = {t.sot_sequence for t in tokenizers}  # mostly one: a call takes one for all
        found = {start: self.model.align(encoded.features, list(start), texts, frames) for start in starts}
        own = [found[t.sot_sequence][i] for i, t in enumerate(tokenizers)]
        return [
            settle(as_timings(result.alignments, result.text_token_probs, text, tokenizer))
            for result, text, tokenizer in zip(own, texts, tokenizers, strict=True)
        ]


def as_view(mel: torch.Tensor) -> ctranslate2.StorageView:
    return ctranslate2.StorageView.from_array(mel.numpy())


def as_answer(result: ctranslate2.models.WhisperGenerationResult, said: int) -> Answer:
    """A result without the `said` tokens it begins with, which CTranslate2 repeats at no cost in score."""
    tokens = result.sequences_ids[0]
    # The last step is the end-of-text's; it counts in the score, but not in what the score is divided by.
    steps = zip(result.logits[0] if result.logits else (), tokens, strict=False)
    logprobs = tuple(logprob(logits, token) for logits, token in steps)
    return Answer(
        tuple(tokens[said:]), result.scores[0] * len(tokens), result.no_speech_prob, logprobs[said:]
    )


def logprob(logits: ctranslate2.StorageView, token: int) -> float:
    return float(torch.log_softmax(torch.from_numpy(np.array(logits)), 0)[token])
