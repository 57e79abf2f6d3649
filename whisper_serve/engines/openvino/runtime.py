"""Whisper's two halves, compiled: mel in, memory out; a step's tokens in, logits out.

bfloat16 has no type in numpy: what is kept in it is handled as bare 16-bit
numbers, which are copied and never reckoned with.
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
from whisper_serve.engines.whisper.convert import read_ctranslate2
from whisper_serve.errors import ConfigError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Kept = NDArray[Any]  # float32, or bfloat16 as uint16
Memory = Sequence[Kept]  # of each decoder layer keys and values in turns, (heads, depth, frames)

X86 = ("x86_64", "AMD64")
PRECISIONS = {"bfloat16": "bf16", "float32": "f32"}
INT8_GROUP = 128  # activations that share a scale, where weights are int8; it divides every Whisper's width


def best_type(core: ov.Core) -> str:
    bf16 = machine() in X86 and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bfloat16" if bf16 else "float32"


def check_fast(number_type: str) -> None:
    """ConfigError where this CPU hears faster without OpenVINO, or a type is asked for that it has not."""
    if number_type not in ("auto", *PRECISIONS):
        raise ConfigError(f"it does not compute in {number_type}")
    if best_type(ov.Core()) != "bfloat16":
        raise ConfigError("this CPU does not multiply bfloat16")


@dataclass(frozen=True, slots=True)
class Said:
    """What a step gave."""

    logits: Floats  # (n, p, vocabulary); valid until the next step
    own: Kept  # keys and values of what was said, (2 layers, n, heads, depth, q)
    looks: Floats  # (n, alignment heads, q, frames); valid until the next step


class Network:
    """One copy of the weights; `workers` passes run at once, each on one thread, and further calls wait.

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
        self.kept = ov.Type.bf16 if bf16 else ov.Type.f32
        self.dtype: type[Any] = np.uint16 if bf16 else np.float32
        model = read_ctranslate2(folder)
        self.dims, graph = model.dims, Graph(model, self.kept)
        self.layers, self.heads, self.depth = graph.layers, graph.heads, graph.depth
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

    def encode(self, mel: Floats) -> Memory:
        """Mel of shape (1, mels, frames), frames even and at most 3000; a memory of frames / 2."""
        shape = (1, self.heads, self.depth, mel.shape[2] // 2)
        memory = [np.empty(shape, self.dtype) for _ in range(2 * self.layers)]
        with taken(self.encoders) as request:
            for i, each in enumerate(memory):
                request.set_output_tensor(i, self.as_tensor(each))
            request.infer([mel], share_inputs=True, share_outputs=True)
        return [each[0] for each in memory]

    def as_tensor(self, kept: Kept) -> ov.Tensor:
        """Over the same memory."""
        return ov.Tensor(kept, kept.shape, self.kept)

    @contextmanager
    def decoder(self) -> Iterator["Decoder"]:
        """For one pass; waits until one is free."""
        with taken(self.decoders) as request:
            yield Decoder(self, request)


class Decoder:
    """Takes steps. What it is given must stay where it is until the next step."""

    def __init__(self, network: Network, request: ov.InferRequest) -> None:
        self.network, self.request = network, request

    def remember(self, memory: Sequence[Kept], heard: Floats) -> None:
        """The memories of n rows, each array (n, ...), and which of their frames may be looked at, (n, 1, 1, frames)."""
        self.memory = (memory, heard)  # OpenVINO does not keep them alive
        self.request.set_input_tensor(4, ov.Tensor(heard, shared_memory=True))
        for i, each in enumerate(memory, 6):
            self.request.set_input_tensor(i, self.network.as_tensor(each))

    def step(self, tokens: Ints, positions: Ints, picks: Ints, seen: Floats, past: Kept) -> Said:
        """As Graph.decoder has it."""
        for i, each in enumerate((tokens, positions, picks, seen)):
            self.request.set_input_tensor(i, ov.Tensor(each, shared_memory=True))
        self.request.set_input_tensor(5, self.network.as_tensor(past))
        own = np.empty((*past.shape[:4], tokens.shape[1]), past.dtype)
        self.request.set_output_tensor(1, self.network.as_tensor(own))
        self.request.infer()
        logits, looks = (self.request.get_output_tensor(i).data for i in (0, 2))
        return Said(logits, own, looks)


@contextmanager
def taken(requests: "SimpleQueue[ov.InferRequest]") -> Iterator[ov.InferRequest]:
    request = requests.get()
    try:
        yield request
    finally:
        requests.put(request)
