"""What replicas have in hand goes in; how many replicas there should be comes out.

Ray Serve asks `ByAudio` for a number, and bounds and delays it as `deployment.autoscaling` says.
"""

from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from whisper_serve.config.model import Autoscaling

IN_HAND = "audio_s"  # what replicas call their seconds of audio, being heard or waiting


class ByAudio:
    """Replicas enough for `target_audio_s` of audio each."""

    def __init__(self, target_audio_s: float) -> None:
        self.target_audio_s = target_audio_s

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Windows that wait where no replica counts them are taken to be as long as the others."""
        in_hand = sum((context.aggregated_metrics or {}).get(IN_HAND, {}).values())
        outside, windows = context.total_queued_requests or 0.0, context.total_num_requests
        inside = windows - outside
        if inside > 0:
            in_hand *= windows / inside
        return in_hand / self.target_audio_s, {}


def autoscaling_config(settings: Autoscaling, target_audio_s: float) -> AutoscalingConfig:
    """As Ray Serve takes it."""
    return AutoscalingConfig(
        **settings.model_dump(exclude={"target_audio_s"}),
        policy=AutoscalingPolicy(
            policy_function=f"{ByAudio.__module__}:{ByAudio.__name__}",
            policy_kwargs={"target_audio_s": target_audio_s},
        ),
    )
