"""`make test-cluster`: the tests beside this file, in a network, process table and mounts of their own.

All they start and mount ends with this process, however it ends.
"""

import os
import sys
from pathlib import Path

from tests.cluster.hosts import INSIDE, why_not

PYTEST = [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
UNSHARE = [
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--uts",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "bash",
    "-c",
]


def main() -> None:
    if why_not():  # the tests say so, and are skipped
        os.execvp(PYTEST[0], PYTEST)
    os.environ[INSIDE] = "1"
    os.execvp(UNSHARE[0], [*UNSHARE, '"$@"; exit $?', "bash", *PYTEST])


if __name__ == "__main__":
    main()
