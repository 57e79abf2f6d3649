"""An engine without a model, which reports the length of each window: to try all of the service but the model."""

from collections.abc import Hashable, Sequence

from whisper_serve.engines import EngineSettings, Outcome
from whisper_serve.types import Segment, Window, WindowResult, Word


class FakeEngine:
    name = "fake"

    def __init__(self, settings: EngineSettings) -> None:
        self.workers = 1
        self.largest_batch = 64

    def batch_key(self, window: Window) -> Hashable:
        return None

    def prepare(self, window: Window) -> Window:
        return window

    def transcribe(self, batch: Sequence[Window]) -> list[Outcome]:
        return [
            spoken(window, f" {window.seconds:.1f} seconds at {window.start:.1f}, batch of {len(batch)}.")
            for window in batch
        ]

    def gpu_memory_gb(self) -> float:
        return 0.0


def spoken(window: Window, text: str) -> WindowResult:
    """`text`, which begins with a space, as one segment whose words take equal shares of the window."""
    words = text.split(" ")[1:]
    step = window.seconds / len(words)
    timed = tuple(Word(i * step, (i + 1) * step, f" {word}", 1.0) for i, word in enumerate(words))
    segment = Segment(0.0, window.seconds, text, words=timed if window.options.word_timestamps else ())
    return WindowResult((segment,), window.options.language or "en")
