"""openai-whisper as a service without batching runs it: torch in fp32, one call at a time, all else as it comes."""

from pathlib import Path

import torch

from loadtest.bench.child import Start, samples_of
from loadtest.common.client import LANGUAGE, Ask
from loadtest.common.clips import Clip
from whisper_serve.engines.whisper.convert import as_openai_whisper


def load(start: Start) -> Ask:
    torch.set_num_threads(start.threads)
    model = as_openai_whisper(Path(start.weights)).eval()

    def ask(clip: Clip) -> str:
        return str(model.transcribe(samples_of(clip), language=LANGUAGE, fp16=False)["text"]).strip()

    return ask
