"""The autoscaling policy of the model deployment: as many replicas as its outstanding audio needs.

Ray Serve calls `ByAudio` for a number, then bounds and delays it as `deployment.autoscaling` says.
"""

from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from whisper_serve.config.model import Autoscaling

OUTSTANDING_AUDIO = "audio_s"  # the replicas' name of it: seconds in their queues and batches


class ByAudio:
    """As many replicas as leave each `target_audio_s` seconds of outstanding audio."""

    def __init__(self, target_audio_s: float) -> None:
        self.target_audio_s = target_audio_s

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Windows that no replica has accepted yet are taken to be as long as the others on average."""
        audio_s = sum((context.aggregated_metrics or {}).get(OUTSTANDING_AUDIO, {}).values())
        queued, windows = context.total_queued_requests or 0.0, context.total_num_requests
        accepted = windows - queued
        if accepted > 0:
            audio_s *= windows / accepted
        return audio_s / self.target_audio_s, {}


def autoscaling_config(settings: Autoscaling, target_audio_s: float) -> AutoscalingConfig:
    """Ray Serve's form of resolved settings."""
    return AutoscalingConfig(
        **settings.model_dump(exclude={"target_audio_s"}),
        policy=AutoscalingPolicy(
            policy_function=f"{ByAudio.__module__}:{ByAudio.__name__}",
            policy_kwargs={"target_audio_s": target_audio_s},
        ),
    )
