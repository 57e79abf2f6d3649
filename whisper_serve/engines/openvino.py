"""A CTranslate2 Whisper in, its encoder on OpenVINO out: mel in, features out.

Where an x86 CPU multiplies bfloat16, this costs half of CTranslate2's int8 for
30 s, and less memory traffic in batches; the feed-forward layers, two thirds
of the work, run in int8. The graph is built from the tensors
themselves, in a moment; for an encoder that differs from Whisper's, build
another here.
"""

import sys
from pathlib import Path
from platform import machine
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from whisper_serve.engines.model_bin import read_variables
from whisper_serve.errors import ConfigError, WeightsError

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # or it reports each import to its maker
import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402

Floats = NDArray[np.float32]
X86 = ("x86_64", "AMD64")
LAYER_NORM_EPSILON = 1e-5
INT8_GROUP = 128  # activations that share a scale, where weights are int8; it divides every Whisper's width


def load_encoder(folder: Path, workers: int, only_if_faster: bool) -> "OpenVINOEncoder":
    """The encoder of the model in `folder`, for `workers` passes at once.

    Raises ConfigError where `only_if_faster` is asked and CTranslate2's own would be; WeightsError
    where the folder's tensors cannot be read; RuntimeError where OpenVINO does not work here.
    """
    core = ov.Core()
    bf16 = machine() in X86 and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if only_if_faster and not bf16:
        raise ConfigError("this CPU does not multiply bfloat16")
    return OpenVINOEncoder(core, folder, workers, "bf16" if bf16 else "f32")


class OpenVINOEncoder:
    """One copy of the weights; `workers` passes run at once, each on one thread, and further calls wait."""

    def __init__(self, core: ov.Core, folder: Path, workers: int, precision: str) -> None:
        graph = Graph(read_variables(folder / "model.bin", "encoder/"))
        self.width = graph.width
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(INT8_GROUP),
            "NUM_STREAMS": str(workers),
            "INFERENCE_NUM_THREADS": workers,
            "ENABLE_CPU_PINNING": False,  # or every process would choose the same CPU
        }
        model = core.compile_model(graph.encoder(), "CPU", settings)
        self.idle: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(workers):
            self.idle.put(model.create_infer_request())

    def __call__(self, mel: Floats) -> Floats:
        """Mel of shape (n, mels, frames), frames even and at most 3000; features of shape (n, frames / 2, width)."""
        features = np.empty((len(mel), mel.shape[2] // 2, self.width), np.float32)
        request = self.idle.get()
        try:
            request.set_output_tensor(ov.Tensor(features, shared_memory=True))
            request.infer([mel], share_inputs=True, share_outputs=True)
        finally:
            self.idle.put(request)
        return features


class Graph:
    """Whisper's encoder as OpenVINO's operations, from CTranslate2's variables by name.

    Raises WeightsError where one is missing.
    """

    def __init__(self, variables: dict[str, Tensor]) -> None:
        self.variables = variables
        self.heads = int(self.variable("num_heads"))
        self.width, self.mels, _ = self.variable("conv1/weight").shape

    def encoder(self) -> ov.Model:
        """Mel of shape (n, mels, frames) to features of shape (n, frames / 2, width), for any n and even frames."""
        mel = op.parameter(ov.PartialShape([-1, self.mels, -1]), ov.Type.f32)
        x = op.transpose(self.conv(self.conv(mel, "conv1", 1), "conv2", 2), ints(0, 2, 1))
        x = op.add(x, self.positions(x))
        layer = 0
        while f"encoder/layer_{layer}/ffn/linear_0/weight" in self.variables:
            x = self.block(x, f"layer_{layer}")
            layer += 1
        return ov.Model([self.norm(x, "layer_norm")], [mel], "encoder")

    def block(self, x: ov.Node, name: str) -> ov.Node:
        x = op.add(
            x, self.attention(self.norm(x, f"{name}/self_attention/layer_norm"), f"{name}/self_attention")
        )
        hidden = self.linear(self.norm(x, f"{name}/ffn/layer_norm"), f"{name}/ffn/linear_0", int8=True)
        return op.add(x, self.linear(op.gelu(hidden, "ERF"), f"{name}/ffn/linear_1", int8=True))

    def attention(self, x: ov.Node, name: str) -> ov.Node:
        per_head, together, swap = ints(0, 0, self.heads, -1), ints(0, 0, self.width), ints(0, 2, 1, 3)
        stacked = op.split(self.linear(x, f"{name}/linear_0"), op.constant(-1), 3).outputs()
        query, key, value = (op.transpose(op.reshape(part, per_head, True), swap) for part in stacked)
        heard = op.scaled_dot_product_attention(query, key, value)
        return self.linear(op.reshape(op.transpose(heard, swap), together, True), f"{name}/linear_1")

    def positions(self, x: ov.Node) -> ov.Node:
        """As many of the position encodings as there are steps."""
        steps = op.gather(op.shape_of(x), ints(1), op.constant(0))
        encodings = self.constant("position_encodings/encodings")
        return op.slice(encodings, ints(0), steps, ints(1), ints(0))

    def conv(self, x: ov.Node, name: str, stride: int) -> ov.Node:
        convolved = op.convolution(x, self.constant(f"{name}/weight"), [stride], [1], [1], [1])
        return op.gelu(op.add(convolved, op.unsqueeze(self.constant(f"{name}/bias"), ints(1))), "ERF")

    def norm(self, x: ov.Node, name: str) -> ov.Node:
        normal = op.mvn(x, ints(-1), True, LAYER_NORM_EPSILON, "INSIDE_SQRT")
        return op.add(op.multiply(normal, self.constant(f"{name}/gamma")), self.constant(f"{name}/beta"))

    def linear(self, x: ov.Node, name: str, int8: bool = False) -> ov.Node:
        weight = self.int8(f"{name}/weight") if int8 else self.constant(f"{name}/weight")
        return op.add(op.matmul(x, weight, False, True), self.constant(f"{name}/bias"))

    def int8(self, name: str) -> ov.Node:
        """A matrix in int8, each row with its scale: OpenVINO then quantizes what it is multiplied with as it runs."""
        matrix = self.variable(name).float().numpy()
        scales = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
        rounded = op.constant(np.round(matrix / scales).astype(np.int8))
        return op.multiply(op.convert(rounded, "f32"), op.constant(scales))

    def constant(self, name: str) -> ov.Node:
        return op.constant(self.variable(name).float().numpy())

    def variable(self, name: str) -> Tensor:
        try:
            return self.variables[f"encoder/{name}"]
        except KeyError as e:
            raise WeightsError(f"its encoder lacks {name}") from e


def ints(*values: int) -> ov.Node:
    return op.constant(np.array(values, dtype=np.int64))
