"""An engine that hears how long its windows are: for tests of everything but the model.

A prompt steers it: "explode" fails the window, "crash" the whole batch, "die" the process,
"eat N" takes N MB of memory over it, "slow N" takes N seconds, "slow N PATH" makes the file PATH first; "misled" hears it
twice, "say TEXT" hears TEXT; "spite PATH" fails wherever the file PATH names this process, or nobody yet.
"""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from whisper_serve.engines import EngineSettings, Outcome, Prepared
from whisper_serve.errors import ModelFailed
from whisper_serve.telemetry.metrics import CONTEXT, FULL_CONTEXT_RETRIES, record
from whisper_serve.types import Segment, Window, WindowResult, Word


class FakeEngine:
    def __init__(self, settings: EngineSettings) -> None:
        self.workers = 1
        self.largest_batch = 64

    def prepare(self, window: Window) -> Prepared:
        return Prepared(window)

    def transcribe(self, batch: Sequence[Prepared]) -> list[Outcome]:
        windows = [prepared.window for prepared in batch]
        for window in windows:
            record(CONTEXT, window.seconds)
            if window.options.prompt == "misled":
                record(FULL_CONTEXT_RETRIES)
            if window.options.prompt == "crash":
                raise MemoryError("asked to crash")
            if window.options.prompt == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if window.options.prompt.startswith("eat "):
                bytearray(int(window.options.prompt.removeprefix("eat ")) * 2**20)
            if window.options.prompt.startswith("slow "):
                _, seconds, *path = window.options.prompt.split(" ")
                for name in path:
                    Path(name).touch()
                time.sleep(float(seconds))
        return [hear(window, len(windows)) for window in windows]

    def gpu_memory_gb(self) -> float:
        return 0.0


def hear(window: Window, batch: int) -> Outcome:
    if window.options.prompt == "explode":
        return ModelFailed("asked to explode")
    if window.options.prompt.startswith("spite ") and is_ours(Path(window.options.prompt.split(" ")[1])):
        return ModelFailed("asked to fail here")
    seconds = window.seconds
    said = f" {seconds:.1f} seconds at {window.start:.1f}, batch of {batch}."
    if window.options.prompt.startswith("say "):
        said = window.options.prompt.removeprefix("say")
    words = said.split(" ")[1:]
    step = seconds / len(words)
    timed = tuple(Word(i * step, (i + 1) * step, f" {w}", 1.0) for i, w in enumerate(words))
    segment = Segment(0.0, seconds, said, words=timed if window.options.word_timestamps else ())
    return WindowResult((segment,), window.options.language or "en")


def is_ours(path: Path) -> bool:
    if not path.exists():
        path.write_text(str(os.getpid()))
    return path.read_text() == str(os.getpid())
