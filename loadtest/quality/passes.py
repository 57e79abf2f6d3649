"""An engine in, a function that hears a window out, for a process without Ray."""

import asyncio

from whisper_serve.engines import Engine, Outcome
from whisper_serve.errors import TranscriptionError
from whisper_serve.types import Heard, Window


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
