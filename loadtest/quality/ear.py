"""An engine's name and recordings in, their transcripts out: the service's Transcriber, in this process, without Ray."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.quality.corpus import Recording
from whisper_serve.config import Config, load_config
from whisper_serve.engines import Engine, Outcome, load_engine
from whisper_serve.errors import TranscriptionError
from whisper_serve.fit import fit
from whisper_serve.machine import this_machine
from whisper_serve.replica import engine_settings
from whisper_serve.transcriber import Transcriber
from whisper_serve.types import WINDOW_S, Heard, Options, Segment, Transcript, Window

AT_ONCE = 8  # recordings, so that short ones too fill a batch


@dataclass(frozen=True, slots=True)
class Answer:
    engine: str
    recording: Recording
    transcript: Transcript

    @property
    def text(self) -> str:
        return self.transcript.text

    @property
    def unfiltered(self) -> str:
        """What would be the text with all filters off: they choose among segments, and change none."""
        return "".join(s.text for s in self.all_segments).strip()

    @property
    def all_segments(self) -> list[Segment]:
        """Kept and dropped, in time."""
        dropped = [d.segment for d in self.transcript.dropped]
        return sorted([*self.transcript.segments, *dropped], key=lambda s: (s.start, s.end))


class Passes:
    """An `infer` over an engine: what waits when a pass ends goes into the next, up to a batch."""

    def __init__(self, engine: Engine, batch_s: float) -> None:
        self._engine = engine
        self._batch_s = batch_s  # seconds of audio
        self._waiting: dict[asyncio.Future[Outcome], Window] = {}  # the first to come first
        self._workers = asyncio.Semaphore(engine.workers)

    async def __call__(self, window: Window) -> Heard:
        """Raises what the engine answers in place of words."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = window
        async with self._workers:
            while answer in self._waiting:
                await self._pass()
        outcome = await answer
        if isinstance(outcome, TranscriptionError):
            raise outcome
        return outcome

    async def _pass(self) -> None:
        batch = self._take()
        outcomes = await asyncio.to_thread(self._engine.transcribe, [window for _, window in batch])
        for (answer, _), outcome in zip(batch, outcomes, strict=True):
            if not answer.done():  # its caller may have left
                answer.set_result(outcome)

    def _take(self) -> list[tuple[asyncio.Future[Outcome], Window]]:
        taken, seconds = 0, 0.0
        for window in self._waiting.values():
            seconds += window.seconds
            if taken and seconds > self._batch_s:
                break
            taken += 1
        return [(answer, self._waiting.pop(answer)) for answer in [*self._waiting][:taken]]


def config_for(engine: str, file: Path) -> Config:
    """The configuration of a service with one replica, on all of this machine. Raises ConfigError."""
    machine, base = this_machine(), load_config(file)
    model = base.model.model_copy(update={"engine": engine})
    alone = {"num_replicas": 1, "cpu_per_replica": machine.cpus}
    deployment = base.deployment.model_copy(update=alone)
    return fit(base.model_copy(update={"model": model, "deployment": deployment}), machine)


def create_transcriber(config: Config) -> Transcriber:
    """With its engine loaded; to be called where an event loop runs."""
    engine = load_engine(config.model.engine, engine_settings(config))
    return Transcriber(config, Passes(engine, config.deployment.max_batch_audio_s or WINDOW_S))


async def hear(
    config: Config, recordings: Sequence[Recording], done: Callable[[Recording], None]
) -> list[Answer]:
    """Every recording's transcript, with word times, in order; `done` is told of each as it ends."""
    transcriber = create_transcriber(config)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(recording: Recording) -> Answer:
        async with room:
            data = await asyncio.to_thread(recording.path.read_bytes)
            options = Options(language=recording.told, word_timestamps=True)
            transcript = await transcriber.transcribe(data, options)
        done(recording)
        return Answer(config.model.engine, recording, transcript)

    return list(await asyncio.gather(*(one(recording) for recording in recordings)))
