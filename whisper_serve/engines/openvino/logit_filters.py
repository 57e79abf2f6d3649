"""Logits in, those of the tokens that must not come next out, as openai-whisper rules it.

After `whisper.decoding.ApplyTimestampRules` and `SuppressTokens`, in numpy, so
that a step costs no more than the model does.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from whisper.tokenizer import Tokenizer

from whisper_serve.engines.whisper.prompt import LATEST_FIRST_TIMESTAMP

Floats = NDArray[np.float32]

NEVER = np.float32(-np.inf)


class Rules:
    """Of one vocabulary."""

    def __init__(self, tokenizer: Tokenizer, suppressed: Sequence[int]) -> None:
        self.eot, self.zero = tokenizer.eot, tokenizer.timestamp_begin
        self.no_speech = tokenizer.no_speech  # its probability at the start says that nobody speaks
        self.never = [*suppressed, tokenizer.no_timestamps]

    def forbid(self, logits: Floats, said: Sequence[Sequence[int]], timed: bool) -> None:
        """In place; logits of shape (n, vocabulary), after what each row `said`.

        timed: timestamps stand around the sentences.
        """
        logits[:, self.never] = NEVER
        if timed:
            for row, tokens in zip(logits, said, strict=True):
                self._forbid_times(row, tokens)

    def _forbid_times(self, row: Floats, said: Sequence[int]) -> None:
        """Timestamps come in pairs, except before the end; they never go back; the first stands at the beginning."""
        if not said:
            row[: self.zero] = NEVER
            row[self.zero + LATEST_FIRST_TIMESTAMP + 1 :] = NEVER
            return
        is_time = said[-1] >= self.zero
        begins = is_time and (len(said) < 2 or said[-2] >= self.zero)  # a sentence
        if begins:
            row[self.zero :] = NEVER
            return
        if is_time:
            row[: self.eot] = NEVER
        last = max((t for t in said if t >= self.zero), default=self.zero - 1)
        row[self.zero : last if is_time else last + 1] = NEVER
        if self._time_is_likelier(row):
            row[: self.zero] = NEVER

    def _time_is_likelier(self, row: Floats) -> bool:
        """Whether all timestamps together are likelier than any one of the rest."""
        times = row[self.zero :]
        highest = times.max()
        if highest == NEVER:
            return False
        return bool(highest + np.log(np.exp(times - highest).sum()) > row[: self.zero].max())


def chosen(
    logits: Floats, temperature: float, randoms: Sequence[np.random.Generator]
) -> tuple[NDArray[np.int64], Floats]:
    """A token for each row, and its natural log-probability; at temperature 0 the likeliest, else drawn.

    Both by the logits as they are; -inf is never chosen.
    """
    scores = logits
    if temperature > 0:
        noise = np.stack([random.gumbel(size=logits.shape[1]) for random in randoms])
        scores = logits / temperature + noise
    tokens = scores.argmax(axis=1)
    highest = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - highest).sum(axis=1))
    return tokens, logits[np.arange(len(logits)), tokens] - highest[:, 0] - total
