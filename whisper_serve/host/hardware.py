"""Counts the CPUs and GPUs of this machine without loading a framework, and pins processes to CPUs."""

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
THREADS = Path("/proc/self/task")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True)
class Machine:
    """The resources a config is resolved for."""

    cpus: float
    gpus: float
    name: str = "this machine"  # in error messages
    all_cpus: float = math.inf  # of all nodes that there are or can be; `cpus` are those of the largest
    memory_mb: float = math.inf  # in megabytes (1e6 bytes), as below; inf: not known
    shared_memory_mb: float = math.inf  # that is free


def this_machine() -> Machine:
    return Machine(
        cpus=count_cpus(),
        gpus=count_gpus(),
        all_cpus=count_cpus(),
        memory_mb=total_memory_mb(),
        shared_memory_mb=free_shared_memory_mb(),
    )


def total_memory_mb() -> float:
    """Of the machine, or of the control group that this process is in, such as a container's."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # there is none, or it is "max"
            limits.append(int(path.read_text()))
    return min(limits) / 1e6


def free_shared_memory_mb() -> float:
    """Of /dev/shm; inf where there is none."""
    try:
        room = os.statvfs(SHARED_MEMORY)
    except OSError:
        return math.inf
    return room.f_bavail * room.f_frsize / 1e6


def count_cpus() -> int:
    """CPUs this process may run on: fewer than the machine's under taskset or a cpuset."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pin_to_cpus(rank: int, cpus: int) -> None:
    """Pin all threads of this process, and those they start, to `cpus` CPUs.

    rank: this process's number among those on this machine; each gets CPUs of its own as long as there are enough.
    Does nothing where the system cannot do it.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    ours = sorted(os.sched_getaffinity(0))
    chosen = {ours[(rank * cpus + i) % len(ours)] for i in range(cpus)}
    for thread in THREADS.iterdir():
        os.sched_setaffinity(int(thread.name), chosen)


def count_gpus() -> int:
    """NVIDIA GPUs that the driver shows and CUDA_VISIBLE_DEVICES leaves visible."""
    present = len(list(NVIDIA_GPUS.iterdir())) if NVIDIA_GPUS.is_dir() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    return min(present, len([device for device in visible.split(",") if device.strip() not in ("", "-1")]))
