"""Where these tests can run: on Linux, as root, in namespaces of their own."""

import os
import shutil
import sys

import pytest

INSIDE = "WHISPER_SERVE_OPERATIONS_TEST"  # set where the namespaces are our own


def why_not() -> str | None:
    """Why namespaces cannot be made here."""
    if sys.platform != "linux" or os.geteuid():
        return "namespaces are made on Linux, as root"
    lacking = [program for program in ("ip", "unshare") if not shutil.which(program)]
    return f"lacking: {', '.join(lacking)} (apt-get install iproute2 util-linux)" if lacking else None


@pytest.fixture(scope="session", autouse=True)
def _namespaces() -> None:
    if reason := why_not():
        pytest.skip(reason)
    if INSIDE not in os.environ:
        pytest.skip(
            "it kills services of this machine: `make test-operations` gives it namespaces of its own"
        )
