"""A start without weights where the name server swallows every question, as behind some firewalls."""

import subprocess
import sys
import time
from pathlib import Path

from tests.support.service import ROOT

# A cable whose other end nobody listens at, and a name server behind it.
SETUP = """
ip link set lo up
ip link add v0 type veth peer name v1
ip address add 10.9.9.1/24 dev v0
ip link set v0 up
ip link set v1 up
ip neighbour add 10.9.9.2 lladdr 02:00:00:00:00:02 dev v0
echo nameserver 10.9.9.2 > "$1/resolv.conf"
mount --bind "$1/resolv.conf" /etc/resolv.conf
"$2" -c "
from pathlib import Path
from whisper_serve.weights.download import fetch
fetch('base', Path('$1/models'))
"
"""


def test_a_start_says_within_a_minute_that_the_weights_cannot_be_had(tmp_path: Path) -> None:
    began = time.monotonic()
    command = ["unshare", "--net", "--mount", "bash", "-c", SETUP, "bash", str(tmp_path), sys.executable]
    tried = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "no source of the weights of 'base' is available" in tried.stderr
    assert time.monotonic() - began < 60
