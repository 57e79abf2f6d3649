"""Defaults that depend on the device: one table, from which limits are resolved and descriptions are written."""

from dataclasses import dataclass
from typing import Literal

Device = Literal["cpu", "cuda"]

MIN_DECODES = 2  # at once in an ingress, however few CPUs there are
PATIENCE_S = 0.2  # what takes longer to decode makes room; a clip of 10 s takes a tenth of it


@dataclass(frozen=True, slots=True)
class DeviceDefaults:
    """For each model replica, where the config leaves it open."""

    parallel_windows: int  # of one request, with the replicas at once
    # Of all requests, with one replica at once: enough to make batches of, few enough to share out over replicas.
    # With one at a time, replicas would starve while Ray's routers sleep.
    ongoing_windows: int
    queued_audio_s: float  # waiting for a replica: some ten seconds of work
    target_audio_s: float  # outstanding before a replica is added: some two seconds of work
    batch_audio_s: float  # in one batch: more gains little, and shares out badly over replicas


DEVICE_DEFAULTS: dict[Device, DeviceDefaults] = {
    "cpu": DeviceDefaults(
        parallel_windows=6,
        ongoing_windows=64,
        queued_audio_s=300,
        target_audio_s=60,
        batch_audio_s=120,
    ),
    "cuda": DeviceDefaults(
        parallel_windows=32,
        ongoing_windows=512,
        queued_audio_s=4800,
        target_audio_s=960,
        batch_audio_s=480,
    ),
}


def per_device(field: str, of: str = "") -> str:
    """What null stands for, in a setting's description: "null: 120 on CPUs, 480 on GPUs"."""
    cpu, cuda = (getattr(DEVICE_DEFAULTS[device], field) for device in ("cpu", "cuda"))
    return f"null: {cpu}{of} on CPUs, {cuda} on GPUs"
