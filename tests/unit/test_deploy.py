"""What other programs run of the service: how long they wait for it to stop."""

import re
from pathlib import Path

import pytest

from whisper_serve.config.server import Server

DEPLOY = Path(__file__).parents[2] / "deploy"
AFTERWARDS_S = 30  # what a stop takes beside the running requests
TIMES = {
    "whisper-serve.service": r"TimeoutStopSec=(\d+)",
    "compose.yaml": r"stop_grace_period: (\d+)s",
    "kuberay/rayservice.yaml": r"(?:terminationGracePeriod|rayClusterDeletionDelay)Seconds: (\d+)",
}


@pytest.mark.parametrize(("name", "pattern"), TIMES.items())
def test_whoever_stops_the_service_waits_as_long_as_it_drains(name: str, pattern: str) -> None:
    times = [int(seconds) for seconds in re.findall(pattern, (DEPLOY / name).read_text())]
    assert set(times) == {Server().drain_timeout_s + AFTERWARDS_S}


def test_every_pod_has_time_to_stop() -> None:
    pods = (DEPLOY / "kuberay/rayservice.yaml").read_text()
    assert pods.count("terminationGracePeriodSeconds") == pods.count("name: ray-")
