"""`make test-operations`: the tests beside this file, in network, process and mount namespaces of their own.

What they start and kill is not seen by other services of this machine, and ends with this process, however it ends.
"""

import os
import sys
from pathlib import Path

from tests.operations.conftest import INSIDE, why_not

PYTEST = [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c"]
# A loopback of its own, and folders of its own where services leave what they share.
ENTER = 'ip link set lo up && mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm && "$@"; exit $?'


def main() -> None:
    if why_not():  # the tests say so, and are skipped
        os.execvp(PYTEST[0], PYTEST)
    os.environ[INSIDE] = "1"
    os.execvp(UNSHARE[0], [*UNSHARE, ENTER, "bash", *PYTEST])


if __name__ == "__main__":
    main()
