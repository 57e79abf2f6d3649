"""faster-whisper: greedy, int8; recordings of more than a window go through its batched pipeline."""

from pathlib import Path

from faster_whisper import BatchedInferencePipeline, WhisperModel

from loadtest.bench.child import Start
from loadtest.bench.tokenizer import with_tokenizer
from loadtest.common.client import LANGUAGE, Ask
from loadtest.common.clips import Clip
from whisper_serve.types import WINDOW_S

BATCH = 8  # windows of a long recording that it transcribes at once


def load(start: Start) -> Ask:
    model = WhisperModel(
        str(with_tokenizer(Path(start.weights))),
        device="cpu",
        compute_type="int8",
        cpu_threads=start.threads,
        num_workers=start.workers,
    )
    pipeline = BatchedInferencePipeline(model)
    greedy = {"language": LANGUAGE, "beam_size": 1, "best_of": 1, "temperature": 0.0}

    def ask(clip: Clip) -> str:
        path = str(clip.path)
        if clip.seconds > WINDOW_S:
            segments, _ = pipeline.transcribe(path, batch_size=BATCH, without_timestamps=True, **greedy)
        else:
            segments, _ = model.transcribe(path, without_timestamps=not start.timestamps, **greedy)
        return " ".join(segment.text.strip() for segment in segments)

    return ask
