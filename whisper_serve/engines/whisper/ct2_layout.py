"""How CTranslate2 lays out a Whisper: which of openai-whisper's tensors are in which of its variables.

CTranslate2 stacks the query, key and value projections of self-attention, and
the key and value projections of cross-attention, and gives keys a bias of
zeros. Where a release of either names something anew, change the tables
below: reading and writing both use them.
"""

import base64
import gzip
from collections.abc import Iterator

import numpy as np
import whisper
from numpy.typing import NDArray
from torch import Tensor
from whisper.model import ModelDimensions

from whisper_serve.engines.whisper.prompt import PromptTokens

# CTranslate2's module -> openai-whisper's modules stacked in it.
STEM = {
    "encoder/conv1": ("encoder.conv1",),
    "encoder/conv2": ("encoder.conv2",),
    "encoder/layer_norm": ("encoder.ln_post",),
    "decoder/layer_norm": ("decoder.ln",),
}
BLOCK = {
    "self_attention/layer_norm": ("attn_ln",),
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "self_attention/linear_1": ("attn.out",),
    "ffn/layer_norm": ("mlp_ln",),
    "ffn/linear_0": ("mlp.0",),
    "ffn/linear_1": ("mlp.2",),
}
DECODER_BLOCK = BLOCK | {
    "attention/layer_norm": ("cross_attn_ln",),
    "attention/linear_0": ("cross_attn.query",),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
    "attention/linear_2": ("cross_attn.out",),
}
SINGLE = {
    "encoder/position_encodings/encodings": "encoder.positional_embedding",
    "decoder/position_encodings/encodings": "decoder.positional_embedding",
    "decoder/embeddings/weight": "decoder.token_embedding.weight",
}


def layout(dims: ModelDimensions) -> Iterator[tuple[str, tuple[str, ...]]]:
    """CTranslate2's variable, and openai-whisper's tensors stacked in it along their first axis."""
    modules: dict[str, tuple[str, ...]] = dict(STEM)
    for side, layers, block in (
        ("encoder", dims.n_audio_layer, BLOCK),
        ("decoder", dims.n_text_layer, DECODER_BLOCK),
    ):
        for i in range(layers):
            for module, parts in block.items():
                modules[f"{side}/layer_{i}/{module}"] = tuple(f"{side}.blocks.{i}.{part}" for part in parts)
    for module, parts in modules.items():
        weight, bias = ("gamma", "beta") if module.endswith("layer_norm") else ("weight", "bias")
        yield f"{module}/{weight}", tuple(f"{part}.weight" for part in parts)
        yield f"{module}/{bias}", tuple(f"{part}.bias" for part in parts)
    for variable, tensor in SINGLE.items():
        yield variable, (tensor,)


def dimensions(variables: dict[str, Tensor]) -> ModelDimensions:
    n_audio_state, n_mels, _ = variables["encoder/conv1/weight"].shape
    n_audio_ctx, _ = variables["encoder/position_encodings/encodings"].shape
    n_text_ctx, _ = variables["decoder/position_encodings/encodings"].shape
    n_vocab, n_text_state = variables["decoder/embeddings/weight"].shape
    return ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=n_audio_ctx,
        n_audio_state=n_audio_state,
        n_audio_head=int(variables["encoder/num_heads"]),
        n_audio_layer=_layers(variables, "encoder"),
        n_vocab=n_vocab,
        n_text_ctx=n_text_ctx,
        n_text_state=n_text_state,
        n_text_head=int(variables["decoder/num_heads"]),
        n_text_layer=_layers(variables, "decoder"),
    )


def _layers(variables: dict[str, Tensor], side: str) -> int:
    return sum(
        name.startswith(f"{side}/layer_") and name.endswith("/ffn/linear_0/weight") for name in variables
    )


def alignment_heads(name: str, dims: ModelDimensions) -> NDArray[np.bool_]:
    """Which decoder heads follow the audio: bool, shape (n_text_layer, n_text_head). Unknown: the later half."""
    heads = np.zeros((dims.n_text_layer, dims.n_text_head), dtype=bool)
    heads[dims.n_text_layer // 2 :] = True
    if name in whisper._ALIGNMENT_HEADS:
        known = np.frombuffer(gzip.decompress(base64.b85decode(whisper._ALIGNMENT_HEADS[name])), dtype=bool)
        if known.size == heads.size:
            heads = known.reshape(heads.shape).copy()
    return heads


def prompt_tokens_of(dims: ModelDimensions) -> PromptTokens:
    """Whether it is multilingual and how many languages it knows, as openai-whisper decides: by its number of tokens."""
    multilingual = dims.n_vocab >= 51865
    return PromptTokens(multilingual, dims.n_vocab - 51765 - int(multilingual))
