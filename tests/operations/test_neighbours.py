"""Two services on one host, one of them in a process-id namespace of its own, as in a container."""

import signal
import sys

import pytest

from tests.support.service import FAKE, Running, command_of, started, wait_until

CONTAINER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "main.py"]
# As docker run --init: a first process that reaps what others leave.
CONTAINER[5:5] = ["bash", "-c", '"$@"; exit $?', "bash"]
ONE_REPLICA = FAKE | {"DEPLOYMENT__NUM_REPLICAS": "1"}


def is_healthy(service: Running) -> bool:
    with service.client() as client:
        return client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "commands", [(CONTAINER, []), ([], CONTAINER)], ids=["container first", "host first"]
)
def test_a_start_leaves_a_healthy_service_beyond_a_container_s_wall_alone(
    commands: tuple[list[str], list[str]],
) -> None:
    with started(ONE_REPLICA, *commands[0]) as first:
        first.wait_until_ready()
        with started(ONE_REPLICA, *commands[1]) as second:
            second.wait_until_ready()
            assert "they are ended now" not in second.output
            assert is_healthy(first)
            assert is_healthy(second)


def test_a_start_ends_what_a_killed_run_of_the_same_folder_left() -> None:
    with started(ONE_REPLICA) as first:
        first.wait_until_ready()
        (watchdog,) = [p for p in first.processes() if "whisper_serve.host.watchdog" in command_of(p)]
        (model,) = [p for p in first.processes() if "ServeReplica:default:Model" in " ".join(command_of(p))]
        watchdog.kill()
        model.suspend()  # it cannot end by itself
        first.process.send_signal(signal.SIGKILL)
        with started(ONE_REPLICA) as second:
            second.wait_until_ready()
            assert "a run whose main.py was killed left" in second.output
            wait_until(lambda: first.processes() == [])
