"""Memories and prompts in, what the decoder says to each out: rows that speak at once.

But for rounding, a row's words do not depend on its neighbours: padding is
masked, not heard.
A row that has said all makes room, and the last takes its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from whisper_serve.engines.openvino.logit_filters import Rules, chosen
from whisper_serve.engines.openvino.runtime import Decoder, Floats, Ints, Kept, Memory, Network, Said
from whisper_serve.engines.whisper.segments import Answer

SEEN, NOT_SEEN = np.float32(0), np.float32(-1e9)  # what is added to scores
PAST_STEP, MEMORY_STEP = 32, 64  # lengths are rounded up to these: OpenVINO prepares itself for each new one


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the decoder is shown before it speaks."""

    memory: Memory
    tokens: Sequence[int]
    sot: int  # which of the tokens is the start-of-transcript
    most: int  # tokens it may say
    seed: int = 0  # of what is drawn, where it is warm: the same sound is heard the same way again


@dataclass(slots=True, eq=False)
class Row:
    """One that speaks."""

    asked: int  # which of the prompts
    prompt: Prompt
    no_speech_prob: float
    random: np.random.Generator
    said: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False  # it said the end-of-text, whose log-probability is the last then

    def say(self, token: int, logprob: float, eot: int) -> None:
        self.logprobs.append(logprob)
        self.ended = token == eot
        if not self.ended:
            self.said.append(token)

    @property
    def tokens(self) -> int:
        """In its prompt, and said."""
        return len(self.prompt.tokens) + len(self.said)

    @property
    def done(self) -> bool:
        return self.ended or len(self.said) >= self.prompt.most

    def answer(self) -> Answer:
        kept = tuple(self.logprobs[: len(self.said)])
        return Answer(tuple(self.said), sum(self.logprobs), self.no_speech_prob, kept)


def generate(
    network: Network, rules: Rules, prompts: Sequence[Prompt], timed: bool = True, temperature: float = 0.0
) -> list[Answer]:
    """An answer to each; `timed`: with timestamps around its sentences."""
    # The more a row holds, the later it ends: those before it then end behind it, and nothing has to move.
    order = sorted(range(len(prompts)), key=lambda i: -frames(prompts[i].memory))
    answers: dict[int, Answer] = {}
    with network.decoder() as decoder:
        cache = Cache(network, decoder, [prompts[i].memory for i in order])
        rows, logits = begin(cache, rules, {i: prompts[i] for i in order})
        while rows:
            rules.forbid(logits, [row.said for row in rows], timed)
            tokens, logprobs = chosen(logits, temperature, [row.random for row in rows])
            for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
                row.say(int(token), float(logprob), rules.eot)
            answers |= {row.asked: row.answer() for row in leave(rows, cache)}
            if rows:
                logits = cache.say([row.said[-1] for row in rows], [row.tokens - 1 for row in rows])
    return [answers[i] for i in range(len(prompts))]


def begin(cache: "Cache", rules: Rules, prompts: dict[int, Prompt]) -> tuple[list[Row], Floats]:
    """Rows of these prompts, by number, and the logits of what each says first."""
    picks = np.array([[prompt.sot, len(prompt.tokens) - 1] for prompt in prompts.values()])
    said = cache.show([prompt.tokens for prompt in prompts.values()], picks)
    silent = probabilities(said.logits[:, 0])[:, rules.no_speech]
    rows = [
        Row(asked, prompt, float(share), np.random.default_rng(prompt.seed))
        for (asked, prompt), share in zip(prompts.items(), silent, strict=True)
    ]
    return rows, said.logits[:, 1]


def leave(rows: list[Row], cache: "Cache") -> list[Row]:
    """Those that have said all, gone from `rows` and `cache`: the last take their places."""
    done = [row for row in rows if row.done]
    for row in reversed(done):
        slot = rows.index(row)
        rows[slot] = rows[-1]
        rows.pop()
        cache.drop(slot)
    return done


def probabilities(logits: Floats) -> Floats:
    """Over the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares


class Cache:
    """What n rows heard and said, as the decoder wants it."""

    def __init__(self, network: Network, decoder: Decoder, memories: Sequence[Memory]) -> None:
        self.decoder = decoder
        n, longest = len(memories), rounded_up(max(frames(m) for m in memories), MEMORY_STEP)
        self.memory = [together(each, longest) for each in zip(*memories, strict=True)]
        self.heard = np.full((n, 1, 1, longest), NOT_SEEN)
        for row, memory in zip(self.heard, memories, strict=True):
            row[..., : frames(memory)] = SEEN
        self.past = np.zeros((2 * network.layers, n, network.heads, network.depth, PAST_STEP), network.dtype)
        self.seen = np.full((n, 1, 1, PAST_STEP + 1), NOT_SEEN)  # of the past, and last the token itself
        self.seen[..., -1] = SEEN
        self.used = 0
        decoder.remember(self.memory, self.heard)

    def show(self, prompts: Sequence[Sequence[int]], picks: Ints) -> Said:
        """What each row begins with, of any length; with the logits of its tokens `picks`, shape (n, p)."""
        lengths = np.array([len(tokens) for tokens in prompts])
        n, q = len(prompts), int(lengths.max())
        at = np.arange(q)
        counts = at < lengths[:, None]
        tokens = np.zeros((n, q), np.int64)
        tokens[counts] = np.concatenate(prompts)
        own = np.where((at[:, None] >= at) & counts[:, None], SEEN, NOT_SEEN)
        seen = np.concatenate([np.repeat(self.seen[..., :-1], q, axis=2), own[:, None]], axis=3)
        said = self.decoder.step(tokens, np.tile(at, (n, 1)), picks, seen, self.past)
        self._append(said, np.where(counts, SEEN, NOT_SEEN))
        return said

    def say(self, tokens: Sequence[int], positions: Sequence[int]) -> Floats:
        """One further token of each row, and its position; the logits after it, (n, vocabulary)."""
        column, at = (np.array(each, np.int64)[:, None] for each in (tokens, positions))
        said = self.decoder.step(column, at, np.zeros_like(column), self.seen, self.past)
        self._append(said, np.full(column.shape, SEEN))
        return said.logits[:, 0]

    def _append(self, said: Said, seen: Floats) -> None:
        upto = self.used + seen.shape[1]
        if (more := rounded_up(upto, PAST_STEP) - self.past.shape[4]) > 0:
            self.past = np.pad(self.past, [(0, 0)] * 4 + [(0, more)])
            unseen = np.full((*self.seen.shape[:3], more), NOT_SEEN)
            self.seen = np.concatenate([self.seen[..., :-1], unseen, self.seen[..., -1:]], axis=3)
        self.past[..., self.used : upto] = said.own
        self.seen[:, 0, 0, self.used : upto] = seen
        self.used = upto

    def drop(self, slot: int) -> None:
        """A row is done, and the last takes its place."""
        last = len(self.heard) - 1
        if slot != last:
            for each in (*self.memory, self.heard, self.seen):
                each[slot] = each[last]
            self.past[:, slot] = self.past[:, last]
        self.memory = [each[:last] for each in self.memory]
        self.heard, self.seen = self.heard[:last], self.seen[:last]
        self.past = np.ascontiguousarray(self.past[:, :last])
        if last:
            self.decoder.remember(self.memory, self.heard)


def together(rows: Sequence[Kept], longest: int) -> Kept:
    """Keys or values of all rows, shape (n, heads, depth, longest), padded with zeros."""
    stacked = np.empty((len(rows), *rows[0].shape[:2], longest), rows[0].dtype)
    for row, own in zip(stacked, rows, strict=True):
        row[..., : own.shape[2]] = own
        row[..., own.shape[2] :] = 0
    return stacked


def frames(memory: Memory) -> int:
    return int(memory[0].shape[2])


def rounded_up(number: int, step: int) -> int:
    return -(-number // step) * step
