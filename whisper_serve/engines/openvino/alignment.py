"""When each word is spoken, from the decoder's cross-attention.

After `whisper.timing.find_alignment`: the same heads, filter and path. The
path is found in numpy: compiling numba's would take a first caller 1.5 s and
each replica 100 MB.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from whisper.timing import median_filter
from whisper.tokenizer import Tokenizer

from whisper_serve.engines.openvino.generate import Cache, probabilities
from whisper_serve.engines.openvino.runtime import CrossKV, Floats, Network
from whisper_serve.engines.whisper.word_timestamps import Timing, as_timings

MEDIAN_WIDTH = 7  # encoder steps


def align(
    network: Network, cross_kv: CrossKV, text: Sequence[int], tokenizer: Tokenizer, frames: int
) -> list[Timing]:
    """The words of `text`, tokens without timestamps, within the first `frames` of mel."""
    if not text:
        return []
    start = len(tokenizer.sot_sequence)
    tokens = [*tokenizer.sot_sequence, tokenizer.no_timestamps, *text, tokenizer.eot]
    picks = np.arange(start, start + len(text))[None]  # after each of these comes one of the text
    with network.decoder() as decoder:
        step = Cache(network, decoder, [cross_kv]).prefill([tokens], picks)
        own = probabilities(step.logits[0, :, : tokenizer.eot])[np.arange(len(text)), text]
        weights = step.attention_weights[0][:, :, : frames // 2].copy()
    pairs = dtw(-prominence(weights)[start:-1].double().numpy())
    return as_timings(pairs, own.tolist(), text, tokenizer)


def prominence(attention_weights: Floats) -> torch.Tensor:
    """How well each token, of shape (heads, tokens, frames), stands out at each frame; shape (tokens, frames)."""
    weights = torch.from_numpy(attention_weights / attention_weights.sum(axis=2, keepdims=True))
    std, mean = torch.std_mean(weights, dim=1, keepdim=True, unbiased=False)
    filtered: torch.Tensor = median_filter((weights - mean) / std, MEDIAN_WIDTH).mean(dim=0)
    return filtered


def dtw(costs: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Dynamic time warping: (row, column) from the first of both to the last, each step onwards in one or both."""
    rows, columns = costs.shape
    totals = np.full((rows + 1, columns + 1), np.inf)
    totals[0, 0] = 0
    for above, total, own in zip(totals, totals[1:], costs, strict=False):
        # Along a row totals are own costs added up, from where it was cheapest to come down.
        upto = np.cumsum(own)
        come_down = np.minimum(above[1:], above[:-1])
        total[1:] = upto + np.minimum.accumulate(come_down - upto + own)
    path, i, j = [], rows, columns
    while i and j:
        path.append((i - 1, j - 1))
        both, down, along = totals[i - 1, j - 1], totals[i - 1, j], totals[i, j - 1]
        diagonal, downwards = both < min(down, along), down < min(both, along)
        i, j = i - (diagonal or downwards), j - (diagonal or not downwards)
    return path[::-1]
