"""Generates the tokens of a batch of rows, step by step, over a shared key-value cache.

But for rounding, a row's tokens do not depend on its neighbours: padding is
masked. A finished row is evicted, and the last takes its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from whisper_serve.engines.openvino.logit_filters import LogitFilters, sample
from whisper_serve.engines.openvino.runtime import (
    CrossKV,
    Decoder,
    Floats,
    Ints,
    KVCache,
    Network,
    StepOutput,
)
from whisper_serve.engines.whisper.model import Decoded

VISIBLE, MASKED = np.float32(0), np.float32(-1e9)  # what is added to attention scores
PAST_STEP, FRAMES_STEP = 32, 64  # lengths are rounded up to these: OpenVINO prepares itself for each new one


@dataclass(slots=True, eq=False)
class Row:
    """One request, and the tokens generated for it."""

    cross_kv: CrossKV
    prompt: Sequence[int]
    sot: int  # which token of the prompt is the start-of-transcript
    max_tokens: int
    seed: int = 0  # of what is drawn at a higher temperature: the same sound gives the same text again
    wants_logprobs: bool = True
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False  # with the end-of-text, whose log-probability is the last then
    no_speech_prob: float = 0.0
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def append(self, token: int, logprob: float, eot: int) -> None:
        self.logprobs.append(logprob)
        self.ended = token == eot
        if not self.ended:
            self.tokens.append(token)

    @property
    def position(self) -> int:
        """Of its last token."""
        return len(self.prompt) + len(self.tokens) - 1

    @property
    def finished(self) -> bool:
        return self.ended or len(self.tokens) >= self.max_tokens

    def decoded(self) -> Decoded:
        own = tuple(self.logprobs[: len(self.tokens)]) if self.wants_logprobs else ()
        return Decoded(tuple(self.tokens), sum(self.logprobs), self.no_speech_prob, own)


def generate(
    network: Network,
    filters: LogitFilters,
    rows: Sequence[Row],
    timestamps: bool = True,
    temperature: float = 0.0,
) -> list[Decoded]:
    """What is decoded in each row, which is new; `timestamps`: around its sentences."""
    # The more a row holds, the later it ends: those before it then end behind it, and nothing has to move.
    active = sorted(rows, key=lambda row: -frames(row.cross_kv))
    with network.decoder() as decoder:
        cache = Cache(network, decoder, [row.cross_kv for row in active])
        logits = begin(active, cache, filters)
        while active:
            filters.apply(logits, [row.tokens for row in active], timestamps)
            tokens, logprobs = sample(logits, temperature, [row.random for row in active])
            for row, token, logprob in zip(active, tokens, logprobs, strict=True):
                row.append(int(token), float(logprob), filters.eot)
            evict_finished(active, cache)
            if active:
                logits = cache.decode_step(
                    [row.tokens[-1] for row in active], [row.position for row in active]
                )
    return [row.decoded() for row in rows]


def begin(rows: Sequence[Row], cache: "Cache", filters: LogitFilters) -> Floats:
    """Process the prompts: the logits of each row's first token. Its probability of silence is noted."""
    picks = np.array([[row.sot, len(row.prompt) - 1] for row in rows])
    step = cache.prefill([row.prompt for row in rows], picks)
    silent = probabilities(step.logits[:, 0])[:, filters.no_speech]
    for row, share in zip(rows, silent, strict=True):
        row.no_speech_prob = float(share)
    return step.logits[:, 1]


def evict_finished(rows: list[Row], cache: "Cache") -> None:
    """Take finished rows out of `rows` and `cache`: the last take their places."""
    for slot in reversed([i for i, row in enumerate(rows) if row.finished]):
        rows[slot] = rows[-1]
        rows.pop()
        cache.evict(slot)


def probabilities(logits: Floats) -> Floats:
    """Softmax over the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares


class Cache:
    """Keys and values of n rows, as the decoder wants them, with masks over what is padding."""

    def __init__(self, network: Network, decoder: Decoder, cross_kvs: Sequence[CrossKV]) -> None:
        self.decoder = decoder
        n, longest = len(cross_kvs), rounded_up(max(frames(kv) for kv in cross_kvs), FRAMES_STEP)
        self.cross_kv = [padded(each, longest) for each in zip(*cross_kvs, strict=True)]
        self.cross_mask = np.full((n, 1, 1, longest), MASKED)
        for row, cross_kv in zip(self.cross_mask, cross_kvs, strict=True):
            row[..., : frames(cross_kv)] = VISIBLE
        self.past = np.zeros(
            (2 * network.layers, n, network.heads, network.head_dim, PAST_STEP), network.kv_dtype
        )
        self.mask = np.full((n, 1, 1, PAST_STEP + 1), MASKED)  # of the past, and last the token itself
        self.mask[..., -1] = VISIBLE
        self.used = 0
        decoder.set_cross_kv(self.cross_kv, self.cross_mask)

    def prefill(self, prompts: Sequence[Sequence[int]], picks: Ints) -> StepOutput:
        """Process what each row begins with, of any length; with the logits of its tokens `picks`, shape (n, p)."""
        lengths = np.array([len(tokens) for tokens in prompts])
        n, q = len(prompts), int(lengths.max())
        at = np.arange(q)
        counts = at < lengths[:, None]
        tokens = np.zeros((n, q), np.int64)
        tokens[counts] = np.concatenate(prompts)
        own = np.where((at[:, None] >= at) & counts[:, None], VISIBLE, MASKED)
        mask = np.concatenate([np.repeat(self.mask[..., :-1], q, axis=2), own[:, None]], axis=3)
        step = self.decoder.step(tokens, np.tile(at, (n, 1)), picks, mask, self.past)
        self._append(step.new_kv, np.where(counts, VISIBLE, MASKED))
        return step

    def decode_step(self, tokens: Sequence[int], positions: Sequence[int]) -> Floats:
        """Process one further token of each row, at its position; the logits after it, (n, vocabulary)."""
        column, at = (np.array(each, np.int64)[:, None] for each in (tokens, positions))
        step = self.decoder.step(column, at, np.zeros_like(column), self.mask, self.past)
        self._append(step.new_kv, np.full(column.shape, VISIBLE))
        return step.logits[:, 0]

    def _append(self, new_kv: KVCache, mask: Floats) -> None:
        upto = self.used + mask.shape[1]
        if (more := rounded_up(upto, PAST_STEP) - self.past.shape[4]) > 0:
            self.past = np.pad(self.past, [(0, 0)] * 4 + [(0, more)])
            masked = np.full((*self.mask.shape[:3], more), MASKED)
            self.mask = np.concatenate([self.mask[..., :-1], masked, self.mask[..., -1:]], axis=3)
        self.past[..., self.used : upto] = new_kv
        self.mask[:, 0, 0, self.used : upto] = mask
        self.used = upto

    def evict(self, slot: int) -> None:
        """Remove a row; the last takes its place."""
        last = len(self.mask) - 1
        if slot != last:
            for each in (*self.cross_kv, self.cross_mask, self.mask):
                each[slot] = each[last]
            self.past[:, slot] = self.past[:, last]
        self.cross_kv = [each[:last] for each in self.cross_kv]
        self.cross_mask, self.mask = self.cross_mask[:last], self.mask[:last]
        self.past = np.ascontiguousarray(self.past[:, :last])
        if last:
            self.decoder.set_cross_kv(self.cross_kv, self.cross_mask)


def padded(rows: Sequence[KVCache], longest: int) -> KVCache:
    """Keys or values of all rows, shape (n, heads, head_dim, longest), padded with zeros."""
    stacked = np.empty((len(rows), *rows[0].shape[:2], longest), rows[0].dtype)
    for row, own in zip(stacked, rows, strict=True):
        row[..., : own.shape[2]] = own
        row[..., own.shape[2] :] = 0
    return stacked


def frames(cross_kv: CrossKV) -> int:
    return int(cross_kv[0].shape[2])


def rounded_up(number: int, step: int) -> int:
    return -(-number // step) * step
