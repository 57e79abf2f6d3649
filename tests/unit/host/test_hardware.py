"""Pinning real processes to CPUs."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")


def cpus_of(rank: int, cpus: int) -> set[int]:
    """The CPUs that a pinned process of this rank may run on."""
    code = f"from whisper_serve.host.hardware import pin_to_cpus; pin_to_cpus({rank}, {cpus}); import os; print(*os.sched_getaffinity(0))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {int(cpu) for cpu in printed.split()}


def test_processes_of_different_ranks_are_pinned_to_different_cpus() -> None:
    ours = sorted(os.sched_getaffinity(0))
    assert cpus_of(0, 1) == {ours[0]}
    assert cpus_of(1, 1) == {ours[1 % len(ours)]}


def test_pinned_processes_share_cpus_when_there_are_too_few() -> None:
    ours = os.sched_getaffinity(0)
    assert cpus_of(len(ours), 1) == cpus_of(0, 1)
    assert cpus_of(3, len(ours) + 1) == ours
