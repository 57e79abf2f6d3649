"""A CTranslate2 Whisper's variables in, OpenVINO's graphs out: an encoder, and a decoder that takes a step.

Built from the tensors themselves, in a moment. For a model that differs from
Whisper's, draw another here.

The decoder keeps nothing: what it heard (the memory: keys and values of the
encoder's output) and what it said (the past) come in with each step. Both
have shape (heads, depth, time), so that a single query reads them as they
lie: in other orders OpenVINO takes up to twice the time.
"""

from collections.abc import Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op
from torch import Tensor

from whisper_serve.engines.whisper.convert import Variables

LAYER_NORM_EPSILON = 1e-5


class Graph:
    """Operations over a model's variables by name. `kept`: the number type of keys and values between passes."""

    def __init__(self, model: Variables, kept: ov.Type) -> None:
        self.tensors, self.kept = model.tensors, kept
        self.mels, self.width, self.heads = model.dims.n_mels, model.dims.n_text_state, model.dims.n_text_head
        self.encoder_layers, self.layers = model.dims.n_audio_layer, model.dims.n_text_layer
        self.alignment_heads = model.alignment_heads
        self.depth = self.width // self.heads
        self.words = quantized(self.tensors["decoder/embeddings/weight"])  # read both ways

    def encoder(self) -> ov.Model:
        """Mel of shape (n, mels, frames) to the decoder's memory, for any n and even frames: keys and values of
        each of its layers, in turns."""
        mel = op.parameter(ov.PartialShape([-1, self.mels, -1]), ov.Type.f32)
        x = op.transpose(self.conv(self.conv(mel, "encoder/conv1", 1), "encoder/conv2", 2), ints(0, 2, 1))
        x = op.add(x, self.first_positions(x))
        for layer in range(self.encoder_layers):
            x = self.encoder_block(x, f"encoder/layer_{layer}")
        x = self.norm(x, "encoder/layer_norm")
        return ov.Model(
            [kept for layer in range(self.layers) for kept in self.memory(x, layer)], [mel], "encoder"
        )

    def decoder(self) -> ov.Model:
        """One step of n rows, each with q further tokens, p of which are asked for.

        In: tokens and positions, (n, q); which of the q to answer, (n, p); what each may see of the past and
        the q, as 0 or a large negative number, (n, 1, q, past + q); the same of the memory, (n, 1, 1, frames);
        the past, of each layer keys and values in turns, (2 layers, n, heads, depth, past); then the memory
        as the encoder gave it.
        Out: logits, (n, p, vocabulary); the q's own keys and values, shaped as the past; how much each of
        the q looks at each frame with each of the alignment heads, (n, alignment heads, q, frames).
        """
        tokens, positions, picks = (op.parameter(ov.PartialShape([-1, -1]), ov.Type.i64) for _ in range(3))
        seen = op.parameter(ov.PartialShape([-1, 1, -1, -1]), ov.Type.f32)
        heard = op.parameter(ov.PartialShape([-1, 1, 1, -1]), ov.Type.f32)
        past = op.parameter(ov.PartialShape([2 * self.layers, -1, self.heads, self.depth, -1]), self.kept)
        shape = ov.PartialShape([-1, self.heads, self.depth, -1])
        memory = [op.parameter(shape, self.kept) for _ in range(2 * self.layers)]
        pasts = [
            op.squeeze(part, ints(0)) for part in op.split(past, op.constant(0), 2 * self.layers).outputs()
        ]
        x = op.add(self.embedded(tokens), self.positions_at(positions))
        said, looks = [], []
        for layer in range(self.layers):
            name, key, value = f"decoder/layer_{layer}", 2 * layer, 2 * layer + 1
            x, *own = self.recall(x, name, pasts[key], pasts[value], seen)
            x, look = self.listen(x, name, memory[key], memory[value], heard)
            x = op.add(x, self.feed_forward(x, name))
            said += own
            looks += self.aligned(look, layer)
        x = op.gather(self.norm(x, "decoder/layer_norm"), picks, op.constant(1), 1)
        logits = op.matmul(x, dequantized(*self.words), False, True)
        outputs = [logits, self.keep(stacked(said)), op.concat(looks, 1)]
        return ov.Model(outputs, [tokens, positions, picks, seen, heard, past, *memory], "decoder")

    def recall(
        self, x: ov.Node, name: str, past_key: ov.Node, past_value: ov.Node, seen: ov.Node
    ) -> tuple[ov.Node, ov.Node, ov.Node]:
        """Attention to what was said; and the keys and values of what is said now."""
        normal = self.norm(x, f"{name}/self_attention/layer_norm")
        query, key, value = self.split(normal, f"{name}/self_attention/linear_0", 3)
        key, value = by_time(key), by_time(value)
        all_keys = op.concat([self.read(past_key), key], 3)
        all_values = op.concat([self.read(past_value), value], 3)
        found, _ = self.attend(by_head(query), all_keys, all_values, seen)
        return op.add(x, self.linear(found, f"{name}/self_attention/linear_1", int8=True)), key, value

    def listen(
        self, x: ov.Node, name: str, key: ov.Node, value: ov.Node, heard: ov.Node
    ) -> tuple[ov.Node, ov.Node]:
        """Attention to the memory; and where it looked."""
        normal = self.norm(x, f"{name}/attention/layer_norm")
        (query,) = self.split(normal, f"{name}/attention/linear_0", 1)
        found, look = self.attend(by_head(query), self.read(key), self.read(value), heard)
        return op.add(x, self.linear(found, f"{name}/attention/linear_2", int8=True)), look

    def aligned(self, look: ov.Node, layer: int) -> list[ov.Node]:
        """Of the layer's alignment heads, where it has any."""
        heads = np.flatnonzero(self.alignment_heads[layer])
        return [op.gather(look, ints(*heads), op.constant(1))] if len(heads) else []

    def memory(self, features: ov.Node, layer: int) -> tuple[ov.Node, ov.Node]:
        key, value = self.split(features, f"decoder/layer_{layer}/attention/linear_1", 2)
        return self.keep(by_time(key)), self.keep(by_time(value))

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
        """What a few queries find, shape (n, q, width), and where they look, (n, heads, q, time)."""
        scaled = op.multiply(query, op.constant(np.float32(self.depth**-0.5)))
        scores = op.transpose(op.matmul(key, scaled, True, True), ints(0, 1, 3, 2))
        look = op.softmax(op.add(scores, mask), -1)
        found = op.transpose(op.matmul(value, look, False, True), ints(0, 3, 1, 2))
        return op.reshape(found, ints(0, 0, self.width), True), look

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
        """A linear layer's output in equal parts, each of shape (n, time, heads, depth)."""
        outputs = op.split(self.linear(x, name, int8), op.constant(-1), parts).outputs()
        return [op.reshape(part, ints(0, 0, self.heads, self.depth), True) for part in outputs]

    def linear(self, x: ov.Node, name: str, int8: bool = False) -> ov.Node:
        weight = self.int8(f"{name}/weight") if int8 else self.constant(f"{name}/weight")
        return op.add(op.matmul(x, weight, False, True), self.constant(f"{name}/bias"))

    def embedded(self, tokens: ov.Node) -> ov.Node:
        return dequantized(*(op.gather(each, tokens, op.constant(0)) for each in self.words))

    def int8(self, name: str) -> ov.Node:
        """A matrix in int8: OpenVINO then quantizes what it is multiplied with as it runs."""
        return dequantized(*quantized(self.tensors[name]))

    def keep(self, x: ov.Node) -> ov.Node:
        return op.convert(x, self.kept)

    def read(self, x: ov.Node) -> ov.Node:
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
    """(n, time, heads, depth) to (n, heads, time, depth)."""
    return op.transpose(x, ints(0, 2, 1, 3))


def by_time(x: ov.Node) -> ov.Node:
    """(n, time, heads, depth) to (n, heads, depth, time)."""
    return op.transpose(x, ints(0, 2, 3, 1))


def stacked(parts: Sequence[ov.Node]) -> ov.Node:
    return op.concat([op.unsqueeze(part, ints(0)) for part in parts], 0)


def ints(*values: int) -> ov.Node:
    return op.constant(np.array(values, dtype=np.int64))
