"""CTranslate2: int8 on a CPU, half precision on a GPU. Windows in, what was heard out."""

from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import numpy as np
import torch
from whisper.tokenizer import Tokenizer

from whisper_serve.engines import EngineSettings, Outcome
from whisper_serve.engines.convert import as_ctranslate2
from whisper_serve.engines.decoding import Hearing, Stretch, log_mel
from whisper_serve.engines.segments import Decoded
from whisper_serve.engines.vocabulary import (
    CONTEXT_TOKENS,
    LATEST_FIRST_TIMESTAMP_S,
    TIMESTAMP_S,
    Vocabulary,
)
from whisper_serve.engines.words import Timing, settle
from whisper_serve.errors import WeightsError
from whisper_serve.types import Window

LARGEST_BATCH = {"cpu": 4, "cuda": 32}  # a CPU gains nothing beyond
BEST_TYPE = {"cpu": "int8", "cuda": "float16"}


class CTranslate2Engine:
    def __init__(self, settings: EngineSettings) -> None:
        torch.set_num_threads(settings.threads)
        self.device = settings.device
        self.model = ctranslate2.models.Whisper(
            str(model_folder(settings.weights)),
            device=settings.device,
            compute_type=BEST_TYPE[settings.device] if settings.compute_type == "auto" else settings.compute_type,
            intra_threads=settings.threads,
            inter_threads=1,
        )
        self.vocabulary = Vocabulary(self.model.is_multilingual, self.model.num_languages)
        adaptive = settings.context == "adaptive"
        self.hearing = Hearing(self.listen, self.vocabulary, adaptive, LARGEST_BATCH[settings.device])

    def transcribe(self, windows: Sequence[Window]) -> list[Outcome]:
        return self.hearing.hear(windows)

    def gpu_memory_gb(self) -> float:
        """Of all processes on the GPU: CTranslate2 does not tell its own share."""
        if self.device == "cpu":
            return 0.0
        free, total = torch.cuda.mem_get_info()
        return (total - free) / 1e9

    def listen(self, stretches: Sequence[Stretch]) -> list[Decoded]:
        """One pass over stretches of one kind: encode once, then detect, decode and align from that."""
        mel = log_mel(stretches, self.model.n_mels)
        encoded = self.model.encode(ctranslate2.StorageView.from_array(mel.numpy()))
        languages = self.languages(stretches, encoded)
        tokenizers = [
            self.vocabulary.tokenizer(language, s.options.task)
            for s, (language, _) in zip(stretches, languages, strict=True)
        ]
        results = self.generate(stretches, encoded, tokenizers)
        words: list[tuple[Timing, ...]] = [()] * len(stretches)
        if stretches[0].options.word_timestamps:
            words = self.align(stretches, encoded, tokenizers, [r.sequences_ids[0] for r in results])
        return [
            Decoded(
                *language,
                tokens=tuple(result.sequences_ids[0]),
                avg_logprob=average(result),
                no_speech_prob=result.no_speech_prob,
                logprobs=token_logprobs(result),
                words=timings,
            )
            for language, result, timings in zip(languages, results, words, strict=True)
        ]

    def languages(
        self, stretches: Sequence[Stretch], encoded: ctranslate2.StorageView
    ) -> list[tuple[str, float]]:
        """Code and probability of each stretch's language: as given, or the likeliest."""
        given = [s.options.language for s in stretches]
        if given[0] is not None:  # then all of this kind are
            return [(language or "", 1.0) for language in given]
        return [(best[0][0].strip("<|>"), best[0][1]) for best in self.model.detect_language(encoded)]

    def generate(
        self, stretches: Sequence[Stretch], encoded: ctranslate2.StorageView, tokenizers: Sequence[Tokenizer]
    ) -> list[ctranslate2.models.WhisperGenerationResult]:
        prompts = [[*s.previous, *t.sot_sequence] for s, t in zip(stretches, tokenizers, strict=True)]
        most = max(s.max_tokens for s in stretches)
        options = stretches[0].options
        results: list[ctranslate2.models.WhisperGenerationResult] = self.model.generate(
            encoded,
            prompts,
            beam_size=1,
            # CTranslate2 counts the prompt in, then generates at most half of it
            max_length=min(CONTEXT_TOKENS, max(2 * most, len(prompts[0]) + most)),
            sampling_topk=0 if options.temperature > 0 else 1,
            sampling_temperature=options.temperature or 1.0,
            suppress_tokens=self.vocabulary.suppressed(),
            max_initial_timestamp_index=round(LATEST_FIRST_TIMESTAMP_S / TIMESTAMP_S),
            return_scores=True,
            return_no_speech_prob=True,
            return_logits_vocab=options.logprobs,
        )
        return results

    def align(
        self,
        stretches: Sequence[Stretch],
        encoded: ctranslate2.StorageView,
        tokenizers: Sequence[Tokenizer],
        tokens: Sequence[Sequence[int]],
    ) -> list[tuple[Timing, ...]]:
        """Words and their times, for each stretch."""
        texts = [[t for t in ids if t < tokenizers[0].eot] for ids in tokens]
        frames = [round(s.seconds * 100) for s in stretches]
        starts = {t.sot_sequence for t in tokenizers}  # mostly one: a call takes one for all
        found = {start: self.model.align(encoded, list(start), texts, frames) for start in starts}
        own = [found[t.sot_sequence][i] for i, t in enumerate(tokenizers)]
        return [
            settle(as_timings(result.alignments, result.text_token_probs, text, tokenizer))
            for result, text, tokenizer in zip(own, texts, tokenizers, strict=True)
        ]


def model_folder(weights: Path | None) -> Path:
    if weights is None:
        raise WeightsError("the engine 'ctranslate2' needs a model")
    return weights if weights.is_dir() else as_ctranslate2(weights, weights.with_suffix(".ctranslate2"))


def average(result: ctranslate2.models.WhisperGenerationResult) -> float:
    """openai-whisper's mean. CTranslate2 divides the same sum, end-of-text included, by the tokens without it."""
    tokens = len(result.sequences_ids[0])
    return float(result.scores[0]) * max(tokens, 1) / (tokens + 1)


def token_logprobs(result: ctranslate2.models.WhisperGenerationResult) -> tuple[float, ...]:
    """Natural log-probability of each token; empty where the logits were not asked for."""
    if not result.logits:
        return ()
    steps = zip(result.logits[0], result.sequences_ids[0], strict=False)  # the last step is the end-of-text's
    return tuple(float(torch.log_softmax(torch.from_numpy(np.array(logits)), 0)[token]) for logits, token in steps)


def as_timings(
    pairs: Sequence[tuple[int, int]], probabilities: Sequence[float], text: Sequence[int], tokenizer: Tokenizer
) -> list[Timing]:
    """An alignment as words: `pairs` are (token, encoder step of 0.02 s), `probabilities` those of the tokens."""
    words, word_tokens = tokenizer.split_to_word_tokens([*text, tokenizer.eot])
    if len(words) <= 1:  # the end-of-text alone
        return []
    token, step = np.array(pairs).T
    begins = step[np.diff(token, prepend=-1) > 0] * TIMESTAMP_S  # of each token, the end-of-text last
    edges = np.cumsum([0, *(len(t) for t in word_tokens[:-1])])
    return [
        Timing(word, list(ids), float(begins[i]), float(begins[j]), float(np.mean(probabilities[i:j])))
        for word, ids, i, j in zip(words, word_tokens, edges, edges[1:], strict=False)
    ]
