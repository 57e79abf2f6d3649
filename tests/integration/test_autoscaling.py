"""Autoscaling by outstanding audio: replicas come and go, and no request is refused or lost."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve.config import AutoscalingContext

from tests.conftest import wav
from tests.faults.test_deaths import MODEL, Load, named
from tests.support.service import FAKE, Running, started, wait_until
from whisper_serve.serving.autoscaling import OUTSTANDING_AUDIO, ByAudio

QUICK = {
    "max_replicas": 3,
    "target_audio_s": 4,
    "look_back_period_s": 2,
    "upscale_delay_s": 0,
    "downscale_delay_s": 2,
}


def settings(fewest: int) -> dict[str, str]:
    scaling = json.dumps(QUICK | {"min_replicas": fewest})
    return FAKE | {"DEPLOYMENT__AUTOSCALING": scaling, "DEPLOYMENT__CPU_PER_REPLICA": "0.1"}


@pytest.fixture(autouse=True)
def frequent_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas and ingresses report to the controller each second, not every ten."""
    for who in ("REPLICA", "HANDLE"):
        monkeypatch.setenv(f"RAY_SERVE_{who}_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "1")


@pytest.fixture
def loads() -> Iterator[list[Load]]:
    """Loads added to it are ended after the test."""
    loads: list[Load] = []
    yield loads
    for load in loads:
        load.process.kill()
        load.process.wait()


def test_replicas_are_added_under_load_and_removed_after_it_and_no_request_fails(loads: list[Load]) -> None:
    with started(settings(1)) as service:
        service.wait_until_ready()
        assert models(service) == 1
        loads.append(Load(service.url, 1, 0))  # sends requests while replicas come and go
        crowd = Load(service.url, 12, 0)
        loads.append(crowd)
        wait_until(lambda: models(service) == QUICK["max_replicas"], 60)
        crowd.wait_for_more(50)
        counts = crowd.counts()
        wait_until(lambda: models(service) == 1, 60)
        loads[0].wait_for_more(5)
        assert [*counts["lost"], *loads[0].counts()["lost"]] == []
        assert counts["refused"] == 0


def test_with_no_replica_while_idle_the_first_caller_is_answered_after_a_start() -> None:
    with started(settings(0)) as service, service.client() as client:
        service.wait_until_ready()
        assert models(service) == 0
        assert client.get("/readyz").status_code == 200
        answer = client.post("/transcribe", files={"audio_file": ("a.wav", wav(2))}, data={"language": "en"})
        assert answer.json()["text"].startswith("2.0 seconds")
        wait_until(lambda: models(service) == 0, 60)


def models(service: Running) -> int:
    return len(named(service, MODEL))


@pytest.mark.parametrize(
    ("outstanding_s", "windows", "queued", "replicas"),
    [([], 0, 0, 0), ([0.0], 0, 0, 0), ([30.0, 30.0], 8, 0, 6), ([20.0], 8, 4, 4)],
)
def test_there_is_a_replica_for_every_target_audio_s_of_outstanding_audio(
    outstanding_s: list[float], windows: float, queued: float, replicas: float
) -> None:
    model = DeploymentID("Model", "default")
    reported = {ReplicaID(f"{number}", model): seconds for number, seconds in enumerate(outstanding_s)}
    fields: dict[str, Any] = dict.fromkeys(inspect.signature(AutoscalingContext).parameters)
    fields |= {
        "aggregated_metrics": {OUTSTANDING_AUDIO: reported},
        "total_num_requests": windows,
        "total_queued_requests": queued,
    }
    assert ByAudio(10.0)(AutoscalingContext(**fields)) == (replicas, {})
