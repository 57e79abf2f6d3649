"""The service's Transcriber and an engine in this process, without Ray: the load tools' use of its inner parts."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.common.clips import Clip
from loadtest.quality.corpus import ENGLISH, Answer
from whisper_serve.config.load import load_config
from whisper_serve.config.resolve import Resolved, engine_settings, resolve
from whisper_serve.engines import Engine, Outcome, Prepared, load_engine
from whisper_serve.errors import TranscriptionError
from whisper_serve.host.hardware import this_machine
from whisper_serve.serving.batcher import Batcher
from whisper_serve.transcription.temperature_fallback import Infer
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import Options, Window, WindowResult

AT_ONCE = 8  # recordings, so that short ones too fill a batch


def config_for(engine: str, file: Path) -> Resolved:
    """The configuration of a service with one replica, on all of this machine. Raises ConfigError."""
    machine, base = this_machine(), load_config(file)
    model = base.model.model_copy(update={"engine": engine})
    alone = {"num_replicas": 1, "cpu_per_replica": machine.cpus}
    deployment = base.deployment.model_copy(update=alone)
    return resolve(base.model_copy(update={"model": model, "deployment": deployment}), machine)


def engine_for(config: Resolved) -> Engine:
    return load_engine(config.engine, engine_settings(config))


def create_transcriber(config: Resolved) -> Transcriber:
    """With its engine loaded; to be called where an event loop runs."""
    return Transcriber(config, over(engine_for(config), config.limits.max_batch_audio_s))


def over(engine: Engine, batch_s: float) -> Infer:
    """A function that transcribes a window with `engine`, in batches as a replica makes them."""
    batcher: Batcher[Window, Prepared, Outcome] = Batcher(
        engine.prepare, engine.transcribe, engine.workers, batch_s, engine.largest_batch
    )

    async def infer(window: Window) -> WindowResult:
        outcome = await batcher(window, window.seconds, engine.batch_key(window))
        if isinstance(outcome, TranscriptionError):
            raise outcome
        return outcome

    return infer


async def transcribe(
    config: Resolved, recordings: Sequence[Clip], done: Callable[[Clip], None]
) -> list[Answer]:
    """Every recording's transcript, with word times, in order; `done` is called with each as it ends."""
    transcriber = create_transcriber(config)
    free = asyncio.Semaphore(AT_ONCE)

    async def one(recording: Clip) -> Answer:
        async with free:
            data = await asyncio.to_thread(recording.path.read_bytes)
            language = recording.language if recording.part in ENGLISH else None
            transcript = await transcriber.transcribe(data, Options(language=language, word_timestamps=True))
        done(recording)
        return Answer(config.engine, recording, transcript)

    return list(await asyncio.gather(*map(one, recordings)))
