"""The metrics of several nodes at one address, on a Ray cluster of two nodes."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families
from ray.cluster_utils import Cluster
from ray.util.metrics import Counter

from tests.support.service import wait_until
from whisper_serve.serving.ray_metrics import exporters
from whisper_serve.telemetry.metrics import NODE_UP, TRANSCRIBED_AUDIO
from whisper_serve.telemetry.prometheus import scrape


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1, resources={"other": 1})
    ray.init(cluster.address, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class Replica:
    """Counts, as a model replica does."""

    def count(self, seconds: float) -> None:
        Counter(TRANSCRIBED_AUDIO.own_name, TRANSCRIBED_AUDIO.help).inc(seconds)


def scraped() -> dict[str, list[float]]:
    families = text_string_to_metric_families(asyncio.run(scrape(exporters())))
    return {family.name: [sample.value for sample in family.samples] for family in families}


def test_every_live_node_is_scraped(cluster: Cluster) -> None:
    actor: Any = ray.remote(num_cpus=0)(Replica)
    here, there = actor.remote(), actor.options(resources={"other": 1}).remote()
    ray.get([here.count.remote(3), there.count.remote(4)])
    name = TRANSCRIBED_AUDIO.exported.removesuffix("_total")
    wait_until(lambda: sorted(scraped().get(name, [])) == [3, 4], 40)
    assert scraped()[NODE_UP.exported] == [1, 1]
    cluster.remove_node(next(iter(cluster.worker_nodes)))
    wait_until(lambda: scraped()[NODE_UP.exported] == [1], 40)
