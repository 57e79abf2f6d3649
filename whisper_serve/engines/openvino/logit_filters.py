"""Which tokens may come next, and which of them does: logit filters and sampling, in numpy.

After `whisper.decoding.ApplyTimestampRules` and `SuppressTokens`, which work in
torch, so that a step costs no more than the model does.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from whisper.tokenizer import Tokenizer

from whisper_serve.engines.whisper.prompt import LATEST_FIRST_TIMESTAMP

Floats = NDArray[np.float32]

NEVER = np.float32(-np.inf)


class LogitFilters:
    """Of one vocabulary."""

    def __init__(self, tokenizer: Tokenizer, suppressed: Sequence[int]) -> None:
        self.eot, self.timestamp_begin = tokenizer.eot, tokenizer.timestamp_begin
        self.no_speech = tokenizer.no_speech  # its probability at the start is that of silence
        self.never = [*suppressed, tokenizer.no_timestamps]

    def apply(self, logits: Floats, tokens: Sequence[Sequence[int]], timestamps: bool) -> None:
        """In place; logits of shape (n, vocabulary), `tokens` as generated in each row so far.

        timestamps: they stand around the sentences.
        """
        logits[:, self.never] = NEVER
        if timestamps:
            for row, own in zip(logits, tokens, strict=True):
                self._apply_timestamp_rules(row, own)

    def _apply_timestamp_rules(self, row: Floats, tokens: Sequence[int]) -> None:
        """Timestamps come in pairs, except before the end; they never go back; the first stands at the beginning."""
        begin = self.timestamp_begin
        if not tokens:
            row[:begin] = NEVER
            row[begin + LATEST_FIRST_TIMESTAMP + 1 :] = NEVER
            return
        is_time = tokens[-1] >= begin
        if is_time and (len(tokens) < 2 or tokens[-2] >= begin):  # a sentence begins
            row[begin:] = NEVER
            return
        if is_time:
            row[: self.eot] = NEVER
        last = max((t for t in tokens if t >= begin), default=begin - 1)
        row[begin : last if is_time else last + 1] = NEVER
        if self._time_is_likelier(row):
            row[:begin] = NEVER

    def _time_is_likelier(self, row: Floats) -> bool:
        """Whether all timestamps together are likelier than any one of the rest."""
        times = row[self.timestamp_begin :]
        highest = times.max()
        if highest == NEVER:
            return False
        return bool(highest + np.log(np.exp(times - highest).sum()) > row[: self.timestamp_begin].max())


def sample(
    logits: Floats, temperature: float, randoms: Sequence[np.random.Generator]
) -> tuple[NDArray[np.int64], Floats]:
    """A token for each row, and its natural log-probability; at temperature 0 the likeliest, else drawn.

    Both by the logits as they are; -inf is never drawn. With Gumbel noise added, the highest is a draw.
    """
    scores = logits
    if temperature > 0:
        noise = np.stack([random.gumbel(size=logits.shape[1]) for random in randoms])
        scores = logits / temperature + noise
    tokens = scores.argmax(axis=1)
    highest = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - highest).sum(axis=1))
    return tokens, logits[np.arange(len(logits)), tokens] - highest[:, 0] - total
