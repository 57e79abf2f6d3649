"""How a peer is started in, a function that hears a clip out. To add a peer: a function, and a row in LOADS.

Each runs in a process of its own (child.py), and imports what it needs there.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.bench.samples import Start
from loadtest.clips import Clip
from loadtest.errors import CannotRun
from loadtest.protocols import PROTOCOLS, body_of
from whisper_serve.audio.decode import decode
from whisper_serve.types import WINDOW_S, Samples

Ask = Callable[[Clip], str]  # a clip -> its words; blocking, called from several threads at once

LANGUAGE = "en"
BATCH = 8  # windows of a long recording that faster-whisper hears at once
PATIENCE_S = 900.0
MAX_S = 3600.0  # of a recording
TRANSCRIBE = replace(PROTOCOLS["transcribe"], form=(("language", LANGUAGE),))


def load_service(start: Start) -> Ask:
    """The service at start.url: one connection a caller."""
    host = urlsplit(start.url).netloc
    own = threading.local()

    def ask(clip: Clip) -> str:
        if not hasattr(own, "connection"):
            own.connection = HTTPConnection(host, timeout=PATIENCE_S)
        body = body_of(TRANSCRIBE, clip)
        own.connection.request("POST", TRANSCRIBE.path, body.data, {"Content-Type": body.content_type})
        answer = own.connection.getresponse()
        said: bytes = answer.read()
        if answer.status != 200:
            raise CannotRun(f"the service answered {clip.name} with {answer.status}: {said[:200]!r}")
        return TRANSCRIBE.read(said)

    return ask


def load_faster_whisper(start: Start) -> Ask:
    """Greedy, int8; recordings of more than a window go through its batched pipeline."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        start.weights,
        device="cpu",
        compute_type="int8",
        cpu_threads=start.threads,
        num_workers=start.workers,
    )
    pipeline = BatchedInferencePipeline(model)
    greedy = {"language": LANGUAGE, "beam_size": 1, "best_of": 1, "temperature": 0.0}

    def ask(clip: Clip) -> str:
        if clip.seconds > WINDOW_S:
            segments, _ = pipeline.transcribe(clip.path, batch_size=BATCH, without_timestamps=True, **greedy)
        else:
            segments, _ = model.transcribe(clip.path, without_timestamps=not start.timestamps, **greedy)
        return " ".join(segment.text.strip() for segment in segments)

    return ask


def load_openai_whisper(start: Start) -> Ask:
    """As a service without batching runs it: torch in fp32, one call at a time, all else as it comes."""
    import torch

    from whisper_serve.engines.whisper.convert import as_openai_whisper

    torch.set_num_threads(start.threads)
    model = as_openai_whisper(Path(start.weights)).eval()

    def ask(clip: Clip) -> str:
        answer = model.transcribe(samples_of(clip), language=LANGUAGE, fp16=False)
        return str(answer["text"]).strip()

    return ask


def load_whisper_cpp(start: Start) -> Ask:
    """pywhispercpp on weights written here, in the number type its users have (f16). Greedy, best of one."""
    from loadtest.bench.ggml import as_ggml

    try:
        module = import_module("pywhispercpp.model")
    except ImportError as e:
        raise CannotRun(f"pip install pywhispercpp to measure it ({e})") from e
    weights = as_ggml(Path(start.weights))
    model = module.Model(
        str(weights),
        redirect_whispercpp_logs_to=None,
        n_threads=start.threads,
        language=LANGUAGE,
        greedy={"best_of": 1},
        print_progress=False,
        print_realtime=False,
        no_timestamps=not start.timestamps,
    )

    def ask(clip: Clip) -> str:
        return " ".join(segment.text.strip() for segment in model.transcribe(samples_of(clip)))

    return ask


def samples_of(clip: Clip) -> Samples:
    return decode(Path(clip.path).read_bytes(), MAX_S).samples


LOADS: dict[str, Callable[[Start], Ask]] = {
    "service": load_service,
    "faster-whisper": load_faster_whisper,
    "openai-whisper": load_openai_whisper,
    "whisper.cpp": load_whisper_cpp,
}
