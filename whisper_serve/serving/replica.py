"""The model deployment's replica, as Ray Serve runs it: one engine, which transcribes windows in batches."""

import time
from dataclasses import dataclass

import numpy as np
import ray
from opentelemetry.trace import SpanKind
from ray import serve

from whisper_serve.config.resolve import Resolved, engine_settings
from whisper_serve.engines import Outcome, load_engine, transcribe
from whisper_serve.host.hardware import pin_to_cpus
from whisper_serve.serving.autoscaling import OUTSTANDING_AUDIO
from whisper_serve.serving.batch_runner import BatchRunner, WindowRequest
from whisper_serve.serving.batcher import Batcher
from whisper_serve.serving.crash_journal import CrashJournal, journal_folder
from whisper_serve.serving.hedging import Placement
from whisper_serve.serving.ray_metrics import export_metrics
from whisper_serve.serving.ray_ports import close_replica_port
from whisper_serve.telemetry import metrics, tracing
from whisper_serve.telemetry.logs import set_up_logging
from whisper_serve.telemetry.metrics import record
from whisper_serve.types import SAMPLE_RATE, Options, Window, WindowResult

SILENCE = Window(np.zeros(SAMPLE_RATE, np.float32), 0.0, Options(language="en"))


@dataclass(frozen=True, slots=True)
class InferReply:
    outcome: Outcome
    replica: str  # the id of the replica that gave it


class Replica:
    """One engine. Ray Serve makes `deployment.num_replicas` of these."""

    def __init__(self, config: Resolved) -> None:
        close_replica_port()
        if config.deployment.cpu_affinity:
            pin_to_cpus(serve.get_replica_context().rank.local_rank, config.limits.replica_threads)
        self.log = set_up_logging(config.logging)
        tracing.set_up_tracing(config.tracing, "model")
        journal = CrashJournal(journal_folder(), str(ray.get_runtime_context().get_actor_id()))
        began = time.perf_counter()
        self.engine = load_engine(config.engine, engine_settings(config))
        transcribe(self.engine, [SILENCE])  # so that no caller waits for what a first batch sets up
        runner = BatchRunner(self.engine, journal, config.server.dead_letter_dir)
        self.batched = Batcher(
            runner.prepare,
            runner.run,
            workers=self.engine.workers,
            batch_audio_s=config.limits.max_batch_audio_s,
            batch_items=self.engine.largest_batch,
            wait_s=config.deployment.batch_wait_timeout_s,
        )
        self.outstanding_s = 0.0
        took = time.perf_counter() - began
        self.log.info(
            "model loaded",
            extra={"model": config.model.size, "engine": self.engine.name, "seconds": round(took, 1)},
        )
        if config.server.metrics:
            export_metrics(self._sample)
        record(metrics.MODEL_LOADS, model=config.model.ids[0])
        record(metrics.MODEL_LOAD_TIME, took, model=config.model.ids[0])

    def _sample(self) -> None:
        record(metrics.MEMORY, self.engine.gpu_memory_gb() * 1e9, device="gpu")

    async def infer(
        self,
        window: Window,
        left_s: float,
        request_id: str,
        trace: dict[str, str],
        deaths: int = 0,
        avoid: tuple[str, ...] = (),
        placement: Placement | None = None,
    ) -> InferReply:
        """Transcribe a window.

        left_s: seconds for which its caller will wait. trace: headers of the span that this is part of.
        deaths: of replicas, that count against the window. avoid, placement: for the router (see there).
        """
        with tracing.span("infer", SpanKind.SERVER, trace):
            asked = WindowRequest(window, time.monotonic() + left_s, request_id, deaths)
            self.outstanding_s += window.seconds
            try:
                outcome = await self.batched(asked, window.seconds, self.engine.batch_key(window))
            finally:
                self.outstanding_s -= window.seconds
            if isinstance(outcome, WindowResult):
                tracing.note(
                    "batch",
                    outcome.batch_inference_s,
                    windows=outcome.batch_windows,
                    audio_s=outcome.batch_audio_s,
                )
        return InferReply(outcome, serve.get_replica_context().replica_id.unique_id)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Ray Serve collects this for the policy in autoscaling.py."""
        return {OUTSTANDING_AUDIO: self.outstanding_s}

    async def engine_name(self) -> str:
        return self.engine.name

    async def ready(self) -> bool:
        """A replica that answers has its model."""
        return True
