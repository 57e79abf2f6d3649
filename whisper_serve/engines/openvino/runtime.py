"""Whisper's encoder and decoder, compiled and run on OpenVINO.

bfloat16 has no type in numpy: keys and values of that type are handled as bare
16-bit numbers, which are copied and never computed with.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from platform import machine
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from whisper_serve.engines.openvino.graph import Graph
from whisper_serve.engines.whisper.ct2_reader import read_ctranslate2
from whisper_serve.errors import ConfigError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
KVCache = NDArray[Any]  # keys or values of attention: float32, or bfloat16 as uint16
CrossKV = Sequence[
    KVCache
]  # of each decoder layer's cross-attention keys and values in turns, (heads, head_dim, frames)

X86 = ("x86_64", "AMD64")
PRECISIONS = {"bfloat16": "bf16", "float32": "f32"}
INT8_GROUP = 128  # activations that share a scale, where weights are int8; it divides every Whisper's width


def best_type(core: ov.Core) -> str:
    bf16 = machine() in X86 and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bfloat16" if bf16 else "float32"


def check_fast(number_type: str) -> None:
    """Raises ConfigError where CTranslate2 is faster on this CPU, or for a number type that OpenVINO does not have."""
    if number_type not in ("auto", *PRECISIONS):
        raise ConfigError(f"it does not compute in {number_type}")
    if best_type(ov.Core()) != "bfloat16":
        raise ConfigError("this CPU has no bfloat16 instructions")


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one decoder step gave for n rows of q tokens."""

    logits: Floats  # (n, p, vocabulary); valid until the next step
    new_kv: KVCache  # self-attention keys and values of the step's tokens, (2 layers, n, heads, head_dim, q)
    attention_weights: Floats  # (n, alignment heads, q, frames); valid until the next step


class Network:
    """One copy of the weights; `workers` calls run at once, each on one thread, and further calls wait.

    Raises WeightsError where the folder's tensors cannot be read, ConfigError for an unknown number type,
    RuntimeError where OpenVINO does not work here.
    """

    def __init__(self, folder: Path, workers: int, number_type: str = "auto") -> None:
        core = ov.Core()
        name = best_type(core) if number_type == "auto" else number_type
        if name not in PRECISIONS:
            raise ConfigError(
                f"the engine 'openvino' cannot compute in {name!r}; it can in {', '.join(PRECISIONS)}"
            )
        bf16 = name == "bfloat16"
        self.kv_type = ov.Type.bf16 if bf16 else ov.Type.f32
        self.kv_dtype: type[Any] = np.uint16 if bf16 else np.float32
        model = read_ctranslate2(folder)
        self.dims, graph = model.dims, Graph(model, self.kv_type)
        self.layers, self.heads, self.head_dim = graph.layers, graph.heads, graph.head_dim
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[name],
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(INT8_GROUP),
            "NUM_STREAMS": str(workers),
            "INFERENCE_NUM_THREADS": workers,
            "ENABLE_CPU_PINNING": False,  # or every process would choose the same CPU
        }
        encoder = core.compile_model(graph.encoder(), "CPU", settings)
        decoder = core.compile_model(graph.decoder(), "CPU", settings)
        self.encoders: SimpleQueue[ov.InferRequest] = SimpleQueue()
        self.decoders: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(workers):
            self.encoders.put(encoder.create_infer_request())
            self.decoders.put(decoder.create_infer_request())

    def encode(self, mel: Floats) -> CrossKV:
        """Cross-attention keys and values of frames / 2 steps; mel of shape (1, mels, frames), frames even, at most 3000."""
        shape = (1, self.heads, self.head_dim, mel.shape[2] // 2)
        cross_kv = [np.empty(shape, self.kv_dtype) for _ in range(2 * self.layers)]
        with taken(self.encoders) as request:
            for i, each in enumerate(cross_kv):
                request.set_output_tensor(i, self.as_tensor(each))
            request.infer([mel], share_inputs=True, share_outputs=True)
        return [each[0] for each in cross_kv]

    def as_tensor(self, kv: KVCache) -> ov.Tensor:
        """Over the same memory."""
        return ov.Tensor(kv, kv.shape, self.kv_type)

    @contextmanager
    def decoder(self) -> Iterator["Decoder"]:
        """For one batch; waits until one is free."""
        with taken(self.decoders) as request:
            yield Decoder(self, request)


class Decoder:
    """Runs the decoder step by step. What it is given must stay where it is until the next step."""

    def __init__(self, network: Network, request: ov.InferRequest) -> None:
        self.network, self.request = network, request

    def set_cross_kv(self, cross_kv: Sequence[KVCache], mask: Floats) -> None:
        """Cross-attention keys and values of n rows, each array (n, ...), and what to add to scores, (n, 1, 1, frames)."""
        self.cross_kv = (cross_kv, mask)  # OpenVINO does not keep them alive
        self.request.set_input_tensor(4, ov.Tensor(mask, shared_memory=True))
        for i, each in enumerate(cross_kv, 6):
            self.request.set_input_tensor(i, self.network.as_tensor(each))

    def step(self, tokens: Ints, positions: Ints, picks: Ints, mask: Floats, past: KVCache) -> StepOutput:
        """As Graph.decoder has it."""
        for i, each in enumerate((tokens, positions, picks, mask)):
            self.request.set_input_tensor(i, ov.Tensor(each, shared_memory=True))
        self.request.set_input_tensor(5, self.network.as_tensor(past))
        new_kv = np.empty((*past.shape[:4], tokens.shape[1]), past.dtype)
        self.request.set_output_tensor(1, self.network.as_tensor(new_kv))
        self.request.infer()
        logits, weights = (self.request.get_output_tensor(i).data for i in (0, 2))
        return StepOutput(logits, new_kv, weights)


@contextmanager
def taken(requests: "SimpleQueue[ov.InferRequest]") -> Iterator[ov.InferRequest]:
    request = requests.get()
    try:
        yield request
    finally:
        requests.put(request)
