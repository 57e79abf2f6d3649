"""What this machine has: its CPUs and GPUs, told without loading a framework; and a process kept to some of them."""

import os
from dataclasses import dataclass
from pathlib import Path

NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
THREADS = Path("/proc/self/task")


@dataclass(frozen=True, slots=True)
class Machine:
    cpus: float
    gpus: float
    name: str = "this machine"  # as a sentence to its operator would call it


def this_machine() -> Machine:
    return Machine(cpus=count_cpus(), gpus=count_gpus())


def count_cpus() -> int:
    """CPUs this process may run on: fewer than the machine's under taskset or a cpuset."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pin_to_cpus(place: int, cpus: int) -> None:
    """Keep this process's threads, and those they start, to `cpus` CPUs: the processes at other places on this
    machine get others, as long as there are enough. Nothing happens where the system cannot do it.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    ours = sorted(os.sched_getaffinity(0))
    chosen = {ours[(place * cpus + i) % len(ours)] for i in range(cpus)}
    for thread in THREADS.iterdir():
        os.sched_setaffinity(int(thread.name), chosen)


def count_gpus() -> int:
    """NVIDIA GPUs that the driver shows and CUDA_VISIBLE_DEVICES leaves visible."""
    present = len(list(NVIDIA_GPUS.iterdir())) if NVIDIA_GPUS.is_dir() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    return min(present, len([device for device in visible.split(",") if device.strip() not in ("", "-1")]))
