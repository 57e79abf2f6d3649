"""An engine that fails in whatever way a prompt asks for, to test what the service does then.

"explode" fails the window, "crash" its whole batch, "die" the process, "linger N" ends it after N seconds; "spite PATH" fails wherever the file PATH
names this process, or nobody yet; "eat N" takes N MB of memory, "slow N" takes N seconds, "slow N PATH" makes the
file PATH first; "full context" counts as one more decoding with the full context; "say TEXT" transcribes TEXT.
"""

import os
import signal
import time
from collections.abc import Hashable, Sequence
from pathlib import Path

from whisper_serve.engines import EngineSettings, Outcome
from whisper_serve.engines.fake import FakeEngine, spoken
from whisper_serve.errors import ModelFailed
from whisper_serve.telemetry.metrics import CONTEXT, FULL_CONTEXT_RETRIES, record
from whisper_serve.types import Window


class MisbehavingEngine:
    name = "fake"

    def __init__(self, settings: EngineSettings) -> None:
        self.fake = FakeEngine(settings)
        self.workers, self.largest_batch = self.fake.workers, self.fake.largest_batch

    def batch_key(self, window: Window) -> Hashable:
        return self.fake.batch_key(window)

    def prepare(self, window: Window) -> Window:
        return self.fake.prepare(window)

    def transcribe(self, batch: Sequence[Window]) -> list[Outcome]:
        for window in batch:
            record(CONTEXT, window.seconds)
            misbehave(*window.options.prompt.split(" "))
        outcomes = self.fake.transcribe(batch)
        return [instead(window, outcome) for window, outcome in zip(batch, outcomes, strict=True)]

    def gpu_memory_gb(self) -> float:
        return self.fake.gpu_memory_gb()


def misbehave(verb: str, *arguments: str) -> None:
    match verb:
        case "crash":
            raise MemoryError("asked to crash")
        case "linger":
            time.sleep(float(arguments[0]))
            misbehave("die")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "eat":
            bytearray(int(arguments[0]) * 2**20)
        case "slow":
            for path in arguments[1:]:
                Path(path).touch()
            time.sleep(float(arguments[0]))
        case "full":
            record(FULL_CONTEXT_RETRIES)


def instead(window: Window, outcome: Outcome) -> Outcome:
    verb, _, rest = window.options.prompt.partition(" ")
    match verb:
        case "explode":
            return ModelFailed("asked to explode")
        case "spite" if is_ours(Path(rest)):
            return ModelFailed("asked to fail here")
        case "say":
            return spoken(window, f" {rest}")
    return outcome


def is_ours(path: Path) -> bool:
    if not path.exists():
        path.write_text(str(os.getpid()))
    return path.read_text() == str(os.getpid())


class SlowToLoad(MisbehavingEngine):
    """It takes a minute until it is loaded."""

    def __init__(self, settings: EngineSettings) -> None:
        time.sleep(60)
        super().__init__(settings)
