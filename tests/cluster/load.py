"""Load on the addresses of some hosts at once, and the counts of all its requests together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.cluster.cluster import MODELS_A_HOST, Cluster
from tests.cluster.hosts import Host
from tests.faults.callers import Counts
from tests.faults.test_deaths import Load

CALLERS = 4  # on each address
PATIENCE_S = 30  # as clients have, where they are answered 500 or cut off
MORE = 50  # answers


@contextmanager
def load(cluster: Cluster, hosts: Sequence[Host]) -> Iterator[list[Load]]:
    running = [Load(cluster.url(host), CALLERS, PATIENCE_S) for host in hosts]
    try:
        yield running
    finally:
        for callers in running:
            callers.process.kill()
            callers.process.wait()


def wait_for_more(running: Sequence[Load]) -> None:
    for callers in running:
        callers.wait_for_more(MORE)


def counted(running: Sequence[Load]) -> Counts:
    """Let them finish their requests."""
    total = Counts()
    for counts in [Counts(**callers.counts()) for callers in running]:
        total.requests += counts.requests
        total.answered += counts.answered
        total.refused += counts.refused
        total.tried_again += counts.tried_again
        total.slowest_s = max(total.slowest_s, counts.slowest_s)
        total.lost += counts.lost
    return total


def summary(cluster: Cluster, counts: Counts) -> str:
    return (
        f"hosts {len(cluster.hosts)}, replicas {len(cluster.serving) * MODELS_A_HOST}, requests {counts.requests}, "
        f"lost {len(counts.lost)}, tried again {counts.tried_again}, slowest {counts.slowest_s:.1f} s"
    )
