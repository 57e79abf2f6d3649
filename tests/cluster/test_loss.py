"""A machine is lost under load and returns: callers of the others lose nothing. The last test takes the cluster down."""

import time

import httpx
import pytest

from loadtest.common.speech import jfk
from tests.cluster.cluster import DEPLOY, DOWN, HEAD_AGAIN, REAL_MODEL, Cluster, running
from tests.cluster.load import counted, load, summary, wait_for_more
from tests.support.service import STOP_S, wait_until

AWAY_S = 20.0
NOTICED_S = 90.0  # at most: Ray's health check is set to 12 s
MODEL = "^ray::ServeReplica:default:Model"


def test_every_host_that_serves_has_an_ingress_and_its_models(cluster: Cluster) -> None:
    assert cluster.spread()


@pytest.mark.parametrize("loss", ["cut off", "killed"])
def test_a_host_is_lost_and_comes_back_and_no_request_is_lost(
    cluster: Cluster, loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = cluster.serving[-1]
    others = [host for host in cluster.serving if host is not lost]
    with load(cluster, others) as callers:
        wait_for_more(callers)
        went = time.monotonic()
        lost.unplug() if loss == "cut off" else lost.power_off()
        cluster.wait(lambda: {*cluster.replicas()} == {host.address for host in others}, NOTICED_S)
        noticed = time.monotonic() - went
        wait_for_more(callers)
        came = time.monotonic()
        lost.plug() if loss == "cut off" else lost.power_on()
        cluster.wait(cluster.spread)
        whole = time.monotonic() - came
        wait_for_more(callers)
        counts = counted(callers)
    with capsys.disabled():
        print(
            f"\na worker {loss}: {summary(cluster, counts)}, given up after {noticed:.1f} s, "
            f"whole {whole:.1f} s after it came back"
        )
    assert counts.lost == []


def test_the_head_is_killed_and_comes_back_and_serving_goes_on_meanwhile(
    cluster: Cluster, redis: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if redis is None:
        pytest.skip("lacking: apt-get install redis-server")
    head, others = cluster.head, cluster.serving
    before = [running(host, MODEL) for host in others]
    with load(cluster, others) as callers:
        wait_for_more(callers)
        went = time.monotonic()
        head.power_off()
        wait_until(lambda: time.monotonic() > went + AWAY_S, AWAY_S + 1)  # a machine takes a while to start
        wait_for_more(callers)
        head.power_on()
        cluster.run(HEAD_AGAIN)
        cluster.wait(cluster.spread)
        whole = time.monotonic() - went
        wait_for_more(callers)
        counts = counted(callers)
    with capsys.disabled():
        print(
            f"\nthe head killed, away {AWAY_S:g} s: {summary(cluster, counts)}, whole {whole:.1f} s after it went"
        )
    assert counts.lost == []
    assert [running(host, MODEL) for host in others] == before  # none of them was replaced


def test_the_same_command_deploys_a_real_model_that_transcribes_speech_at_every_address(
    cluster: Cluster,
) -> None:
    recording = jfk().read_bytes()
    cluster.set({"MODEL__SIZE": REAL_MODEL})
    cluster.run(DEPLOY)
    cluster.wait(cluster.spread)
    for host in cluster.hosts:
        files = {"audio_file": ("jfk.flac", recording)}
        answer = httpx.post(f"{cluster.url(host)}/transcribe", files=files, timeout=120, trust_env=False)
        assert "ask what you can do for your country" in answer.json()["text"].lower(), answer.text


def test_ray_down_leaves_nothing_running(cluster: Cluster) -> None:
    cluster.run(DOWN)
    for host in cluster.hosts[1:]:
        host.run_ray("stop")
    wait_until(
        lambda: not any(running(host, "[r]aylet|[g]cs_server|^ray::") for host in cluster.hosts), STOP_S
    )
