from collections.abc import Iterator

import pytest

from tests.support.service import Running, started


@pytest.fixture(scope="session")
def service() -> Iterator[Running]:
    """The service as `make run` starts it: the shipped config, real weights, on a free port."""
    with started({}, "make", "run") as running:
        yield running.wait_until_ready()
