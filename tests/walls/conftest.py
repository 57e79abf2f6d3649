"""Services with the fake engine, attacked from outside; one for all tests that take it."""

from collections.abc import Iterator

import pytest

from tests.support.service import FAKE, Running, started

TIMEOUT_S = 2  # of heads and bodies
HASTY = FAKE | {"SERVER__HEAD_TIMEOUT_S": str(TIMEOUT_S), "SERVER__BODY_TIMEOUT_S": str(TIMEOUT_S)}


@pytest.fixture(scope="session", params=["python", "haproxy"])
def service(request: pytest.FixtureRequest) -> Iterator[Running]:
    """Behind each of Ray Serve's proxies, with short deadlines."""
    with started(HASTY | {"SERVER__PROXY": request.param}) as running:
        running.wait_until_ready()
        yield running
