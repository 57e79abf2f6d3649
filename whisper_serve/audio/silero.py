"""Voice activity detection with Silero VAD, an ONNX model that ships inside faster-whisper: a speech probability per frame.

It runs on OpenVINO where that is installed, in half the time it takes on onnxruntime; the scores are the same.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from whisper_serve.errors import StartError
from whisper_serve.types import Samples

FRAME = 512  # samples, 32 ms: what one probability is for
CONTEXT = 64  # samples of the frame before that the model takes with each frame
STATE = (1, 1, 128)  # shape of the LSTM's h and of its c

Scores = NDArray[np.float32]  # shape (frames,), 0 to 1: how likely each frame is speech
Arrays = list[NDArray[np.float32]]
Run = Callable[[dict[str, NDArray[np.float32]]], Arrays]  # input, h and c in; scores, h and c out


class Silero:
    """The scorer of one recording, or of one live stream: it keeps the model's state between blocks.

    Scores do not depend on how the recording is divided into blocks. faster-whisper's own loop
    copies the whole recording twice over; this one copies a block.
    """

    def __init__(self) -> None:
        self._run = load_silero()()
        self._hidden = self._cell = np.zeros(STATE, np.float32)
        self._context = np.zeros(CONTEXT, np.float32)

    def __call__(self, block: Samples) -> Scores:
        """Scores of a block of whole frames, which follows that of the call before."""
        samples = np.concatenate([self._context, block])
        frames = np.ascontiguousarray(sliding_window_view(samples, CONTEXT + FRAME)[::FRAME])
        self._context = samples[-CONTEXT:]
        scores, self._hidden, self._cell = self._run({"input": frames, "h": self._hidden, "c": self._cell})
        return scores


@cache
def load_silero() -> Callable[[], Run]:
    """Load the model, on one CPU thread. Each call of the function it returns starts an inference session for one recording.

    Threads that call it first at the same moment may each load it, in 0.2 s; one copy stays. Raises StartError
    where faster-whisper is not installed, or holds no model.
    """
    file = model_file()
    return on_openvino(file) if find_spec("openvino") else on_onnxruntime(file)


def model_file() -> Path:
    """faster-whisper is only looked up: importing it would load CTranslate2 and PyAV."""
    package = find_spec("faster_whisper")
    folders = (package.submodule_search_locations if package else None) or []
    found = sorted(file for folder in folders for file in Path(folder, "assets").glob("silero_vad*.onnx"))
    if not found:
        raise StartError(
            "vad.method silero needs the faster-whisper package, which holds the model; install it"
        )
    return found[-1]


def on_openvino(file: Path) -> Callable[[], Run]:
    import openvino  # takes 0.1 s

    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # or every process would choose the same CPU
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = openvino.Core().compile_model(file, "CPU", settings)

    def start() -> Run:
        request = model.create_infer_request()  # for one call at a time
        return lambda feed: list(request.infer(feed, share_inputs=True).values())

    return start


def on_onnxruntime(file: Path) -> Callable[[], Run]:
    from onnxruntime import InferenceSession, SessionOptions

    settings = SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = False  # an arena would keep the largest block's memory for good
    settings.log_severity_level = 3  # errors
    session = InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    return lambda: lambda feed: list(session.run(None, feed))
