import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")


def cpus_of(place: int, cpus: int) -> set[int]:
    """What a process that is kept to its place may run on."""
    code = f"from whisper_serve.host.hardware import pin_to_cpus; pin_to_cpus({place}, {cpus}); import os; print(*os.sched_getaffinity(0))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {int(cpu) for cpu in said.split()}


def test_processes_at_different_places_keep_to_different_cpus() -> None:
    ours = sorted(os.sched_getaffinity(0))
    assert cpus_of(0, 1) == {ours[0]}
    assert cpus_of(1, 1) == {ours[1 % len(ours)]}


def test_where_there_are_too_few_cpus_they_are_shared() -> None:
    ours = os.sched_getaffinity(0)
    assert cpus_of(len(ours), 1) == cpus_of(0, 1)
    assert cpus_of(3, len(ours) + 1) == ours
