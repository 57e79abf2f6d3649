"""An ingress whose event loop is blocked is replaced."""

import sys

import httpx
import pytest

from tests.conftest import wav
from tests.support.service import FAKE, started, wait_until

QUICK_CHECKS = {"DEPLOYMENT__HEALTH_CHECK_PERIOD_S": "0.5", "DEPLOYMENT__HEALTH_CHECK_TIMEOUT_S": "3"}
REPLACED_S = 60


def test_a_frozen_ingress_is_replaced() -> None:
    command = (sys.executable, "-c", "from tests.walls.freezing import main; main()")
    with started(FAKE | QUICK_CHECKS, *command) as service:
        service.wait_until_ready()

        def is_answered() -> bool:
            with service.client(timeout_s=2) as client:
                try:
                    files = {"audio_file": ("a.wav", wav(1))}
                    return client.post("/transcribe", files=files).status_code == 200
                except httpx.TransportError:
                    return False

        assert is_answered()
        with service.client(timeout_s=2) as client, pytest.raises(httpx.ReadTimeout):
            client.get("/freeze")
        assert not is_answered()
        wait_until(is_answered, REPLACED_S)
