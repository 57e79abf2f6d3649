"""Builds OpenVINO's graphs of a Whisper: an encoder, and a decoder that takes one step.

Built from the tensors themselves, in a moment. For a model that differs from
Whisper's, build another here.

The decoder keeps nothing: keys and values come in with each step, those of
cross-attention, which the encoder computes, and those of self-attention over
the tokens so far (the past). Both have shape (heads, head_dim, time), so that
a single query reads them as they lie: in other orders OpenVINO takes up to
twice the time.
"""

from collections.abc import Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op
from torch import Tensor

from whisper_serve.engines.whisper.ct2_reader import Variables

LAYER_NORM_EPSILON = 1e-5


class Graph:
    """Operations over a model's variables by name. `kv_type`: the number type of keys and values between steps."""

    def __init__(self, model: Variables, kv_type: ov.Type) -> None:
        self.tensors, self.kv_type = model.tensors, kv_type
        self.mels, self.width, self.heads = model.dims.n_mels, model.dims.n_text_state, model.dims.n_text_head
        self.encoder_layers, self.layers = model.dims.n_audio_layer, model.dims.n_text_layer
        self.alignment_heads = model.alignment_heads
        self.head_dim = self.width // self.heads
        self.token_embedding = quantized(self.tensors["decoder/embeddings/weight"])  # read both ways

    def encoder(self) -> ov.Model:
        """Mel of shape (n, mels, frames), for any n and even frames, to the keys and values of each decoder
        layer's cross-attention, in turns."""
        mel = op.parameter(ov.PartialShape([-1, self.mels, -1]), ov.Type.f32)
        x = op.transpose(self.conv(self.conv(mel, "encoder/conv1", 1), "encoder/conv2", 2), ints(0, 2, 1))
        x = op.add(x, self.first_positions(x))
        for layer in range(self.encoder_layers):
            x = self.encoder_block(x, f"encoder/layer_{layer}")
        x = self.norm(x, "encoder/layer_norm")
        return ov.Model(
            [kv for layer in range(self.layers) for kv in self.cross_kv(x, layer)], [mel], "encoder"
        )

    def decoder(self) -> ov.Model:
        """One step of n rows, each with q further tokens, for p of which logits are asked.

        In: tokens and positions, (n, q); which of the q to give logits for, (n, p); the self-attention mask
        over the past and the q, 0 or a large negative number to add to scores, (n, 1, q, past + q); the
        cross-attention mask likewise, (n, 1, 1, frames); the past, of each layer keys and values in turns,
        (2 layers, n, heads, head_dim, past); then the cross-attention's keys and values as the encoder gave them.
        Out: logits, (n, p, vocabulary); the q's own keys and values, shaped as the past; the attention weights
        of each of the q on each frame in the alignment heads, (n, alignment heads, q, frames).
        """
        tokens, positions, picks = (op.parameter(ov.PartialShape([-1, -1]), ov.Type.i64) for _ in range(3))
        mask = op.parameter(ov.PartialShape([-1, 1, -1, -1]), ov.Type.f32)
        cross_mask = op.parameter(ov.PartialShape([-1, 1, 1, -1]), ov.Type.f32)
        past_shape = ov.PartialShape([2 * self.layers, -1, self.heads, self.head_dim, -1])
        past = op.parameter(past_shape, self.kv_type)
        shape = ov.PartialShape([-1, self.heads, self.head_dim, -1])
        cross_kv = [op.parameter(shape, self.kv_type) for _ in range(2 * self.layers)]
        pasts = [
            op.squeeze(part, ints(0)) for part in op.split(past, op.constant(0), 2 * self.layers).outputs()
        ]
        x = op.add(self.embedded(tokens), self.positions_at(positions))
        new_kv, weights = [], []
        for layer in range(self.layers):
            name, key, value = f"decoder/layer_{layer}", 2 * layer, 2 * layer + 1
            x, *own = self.self_attention(x, name, pasts[key], pasts[value], mask)
            x, attention = self.cross_attention(x, name, cross_kv[key], cross_kv[value], cross_mask)
            x = op.add(x, self.feed_forward(x, name))
            new_kv += own
            weights += self.of_alignment_heads(attention, layer)
        x = op.gather(self.norm(x, "decoder/layer_norm"), picks, op.constant(1), 1)
        logits = op.matmul(x, dequantized(*self.token_embedding), False, True)
        outputs = [logits, self.to_cache(stacked(new_kv)), op.concat(weights, 1)]
        inputs = [tokens, positions, picks, mask, cross_mask, past, *cross_kv]
        return ov.Model(outputs, inputs, "decoder")

    def self_attention(
        self, x: ov.Node, name: str, past_key: ov.Node, past_value: ov.Node, mask: ov.Node
    ) -> tuple[ov.Node, ov.Node, ov.Node]:
        """Attention to the past and the step's tokens; and the keys and values of these."""
        normal = self.norm(x, f"{name}/self_attention/layer_norm")
        query, key, value = self.split(normal, f"{name}/self_attention/linear_0", 3)
        key, value = by_time(key), by_time(value)
        keys = op.concat([self.from_cache(past_key), key], 3)
        values = op.concat([self.from_cache(past_value), value], 3)
        found, _ = self.attend(by_head(query), keys, values, mask)
        return op.add(x, self.linear(found, f"{name}/self_attention/linear_1", int8=True)), key, value

    def cross_attention(
        self, x: ov.Node, name: str, key: ov.Node, value: ov.Node, mask: ov.Node
    ) -> tuple[ov.Node, ov.Node]:
        """Attention to the encoder's output; and its weights."""
        normal = self.norm(x, f"{name}/attention/layer_norm")
        (query,) = self.split(normal, f"{name}/attention/linear_0", 1)
        found, weights = self.attend(by_head(query), self.from_cache(key), self.from_cache(value), mask)
        return op.add(x, self.linear(found, f"{name}/attention/linear_2", int8=True)), weights

    def of_alignment_heads(self, weights: ov.Node, layer: int) -> list[ov.Node]:
        """Those of the layer's alignment heads, where it has any."""
        heads = np.flatnonzero(self.alignment_heads[layer])
        return [op.gather(weights, ints(*heads), op.constant(1))] if len(heads) else []

    def cross_kv(self, features: ov.Node, layer: int) -> tuple[ov.Node, ov.Node]:
        key, value = self.split(features, f"decoder/layer_{layer}/attention/linear_1", 2)
        return self.to_cache(by_time(key)), self.to_cache(by_time(value))

    def encoder_block(self, x: ov.Node, name: str) -> ov.Node:
        own = f"{name}/self_attention"
        parts = self.split(self.norm(x, f"{own}/layer_norm"), f"{own}/linear_0", 3, int8=False)
        mixed = op.scaled_dot_product_attention(*(by_head(part) for part in parts))
        together = op.reshape(op.transpose(mixed, ints(0, 2, 1, 3)), ints(0, 0, self.width), True)
        x = op.add(x, self.linear(together, f"{own}/linear_1"))
        return op.add(x, self.feed_forward(x, name))

    def feed_forward(self, x: ov.Node, name: str) -> ov.Node:
        hidden = self.linear(self.norm(x, f"{name}/ffn/layer_norm"), f"{name}/ffn/linear_0", int8=True)
        return self.linear(op.gelu(hidden, "ERF"), f"{name}/ffn/linear_1", int8=True)

    def attend(self, query: ov.Node, key: ov.Node, value: ov.Node, mask: ov.Node) -> tuple[ov.Node, ov.Node]:
        """Attention of a few queries, shape (n, q, width), and its weights, (n, heads, q, time)."""
        scaled = op.multiply(query, op.constant(np.float32(self.head_dim**-0.5)))
        scores = op.transpose(op.matmul(key, scaled, True, True), ints(0, 1, 3, 2))
        weights = op.softmax(op.add(scores, mask), -1)
        found = op.transpose(op.matmul(value, weights, False, True), ints(0, 3, 1, 2))
        return op.reshape(found, ints(0, 0, self.width), True), weights

    def first_positions(self, x: ov.Node) -> ov.Node:
        """As many of the position encodings as there are steps."""
        steps = op.gather(op.shape_of(x), ints(1), op.constant(0))
        encodings = self.constant("encoder/position_encodings/encodings")
        return op.slice(encodings, ints(0), steps, ints(1), ints(0))

    def positions_at(self, places: ov.Node) -> ov.Node:
        return op.gather(self.constant("decoder/position_encodings/encodings"), places, op.constant(0))

    def conv(self, x: ov.Node, name: str, stride: int) -> ov.Node:
        convolved = op.convolution(x, self.constant(f"{name}/weight"), [stride], [1], [1], [1])
        return op.gelu(op.add(convolved, op.unsqueeze(self.constant(f"{name}/bias"), ints(1))), "ERF")

    def norm(self, x: ov.Node, name: str) -> ov.Node:
        normal = op.mvn(x, ints(-1), True, LAYER_NORM_EPSILON, "INSIDE_SQRT")
        return op.add(op.multiply(normal, self.constant(f"{name}/gamma")), self.constant(f"{name}/beta"))

    def split(self, x: ov.Node, name: str, parts: int, int8: bool = True) -> list[ov.Node]:
        """A linear layer's output in equal parts, each of shape (n, time, heads, head_dim)."""
        outputs = op.split(self.linear(x, name, int8), op.constant(-1), parts).outputs()
        return [op.reshape(part, ints(0, 0, self.heads, self.head_dim), True) for part in outputs]

    def linear(self, x: ov.Node, name: str, int8: bool = False) -> ov.Node:
        weight = self.int8(f"{name}/weight") if int8 else self.constant(f"{name}/weight")
        return op.add(op.matmul(x, weight, False, True), self.constant(f"{name}/bias"))

    def embedded(self, tokens: ov.Node) -> ov.Node:
        return dequantized(*(op.gather(each, tokens, op.constant(0)) for each in self.token_embedding))

    def int8(self, name: str) -> ov.Node:
        """A matrix in int8: OpenVINO then quantizes what it is multiplied with as it runs."""
        return dequantized(*quantized(self.tensors[name]))

    def to_cache(self, x: ov.Node) -> ov.Node:
        return op.convert(x, self.kv_type)

    def from_cache(self, x: ov.Node) -> ov.Node:
        return op.convert(x, ov.Type.f32)

    def constant(self, name: str) -> ov.Node:
        return op.constant(self.tensors[name].float().numpy())


def quantized(matrix: Tensor) -> tuple[ov.Node, ov.Node]:
    """In int8, and a scale for each row."""
    exact = matrix.float().numpy()
    scales = np.maximum(np.abs(exact).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
    return op.constant(np.round(exact / scales).astype(np.int8)), op.constant(scales)


def dequantized(rounded: ov.Node, scales: ov.Node) -> ov.Node:
    return op.multiply(op.convert(rounded, ov.Type.f32), scales)


def by_head(x: ov.Node) -> ov.Node:
    """(n, time, heads, head_dim) to (n, heads, time, head_dim)."""
    return op.transpose(x, ints(0, 2, 1, 3))


def by_time(x: ov.Node) -> ov.Node:
    """(n, time, heads, head_dim) to (n, heads, head_dim, time)."""
    return op.transpose(x, ints(0, 2, 3, 1))


def stacked(parts: Sequence[ov.Node]) -> ov.Node:
    return op.concat([op.unsqueeze(part, ints(0)) for part in parts], 0)


def ints(*values: int) -> ov.Node:
    return op.constant(np.array(values, dtype=np.int64))
