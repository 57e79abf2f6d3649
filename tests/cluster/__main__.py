"""`make test-cluster`: the tests beside this file, in network, process and mount namespaces of their own.

What the tests need from the internet is fetched before, since these namespaces
reach no registry. All they start and mount ends with this process, however it ends.
"""

import json
import os
import sys
from pathlib import Path

from loadtest.common.speech import jfk
from tests.cluster.cluster import REAL_MODEL
from tests.cluster.hosts import INSIDE, MODELS, why_not
from tests.support.service import ROOT
from whisper_serve.errors import WeightsError
from whisper_serve.weights.download import fetch

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


def fetch_all() -> None:
    """Weights and speech into models/ and speech/, where they are not there yet. Raises WeightsError."""
    config = json.loads((ROOT / "deploy/cluster.json").read_text(encoding="utf-8"))
    sizes = (config["model"]["size"], REAL_MODEL)
    print(f"checking, and fetching where they are missing: weights of {', '.join(sizes)}, speech", flush=True)
    for size in sizes:
        fetch(size, MODELS)
    jfk()


def main() -> None:
    if why_not():  # the tests say so, and are skipped
        os.execvp(PYTEST[0], PYTEST)
    try:
        fetch_all()
    except WeightsError as e:
        sys.exit(f"error: {e}")
    os.environ[INSIDE] = "1"
    os.execvp(UNSHARE[0], [*UNSHARE, '"$@"; exit $?', "bash", *PYTEST])


if __name__ == "__main__":
    main()
