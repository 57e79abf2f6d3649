"""The samples that ship log files elsewhere, run by the real program."""

import json
import logging
import os
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import ROOT, wait_until
from whisper_serve.telemetry.logs import NAME, set_up_logging
from whisper_serve.telemetry.settings import Logging

PROGRAM = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")


@contextmanager
def receiving() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The port of a machine that keeps logs, and the lines that it was sent."""
    received: list[dict[str, Any]] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            received.extend(json.loads(line) for line in self.rfile)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1], received
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.skipif(PROGRAM is None, reason="rsyslogd is missing: apt-get install rsyslog")
def test_rsyslog_sends_each_line_on_with_its_fields_through_rotations(tmp_path: Path) -> None:
    logs, state = tmp_path / "logs", tmp_path / "state"
    logs.mkdir()
    state.mkdir()
    set_up_logging(Logging(file=str(logs / "service.log"), max_mb=0.002))
    with receiving() as (port, received):
        env = os.environ | {"LOGS": str(logs), "STATE": str(state), "TARGET": "127.0.0.1", "PORT": str(port)}
        command = [
            PROGRAM or "",
            "-n",
            "-f",
            str(ROOT / "deploy/logs/rsyslog.conf"),
            "-i",
            str(tmp_path / "pid"),
        ]
        with subprocess.Popen(command, env=env) as rsyslog:
            try:
                for number in range(40):
                    logging.getLogger(NAME).info("line %d", number, extra={"audio_seconds": 2.5})
                    wait_until(lambda last=number: any(x["message"] == f"line {last}" for x in received))  # type: ignore[misc]
            finally:
                rsyslog.terminate()
    set_up_logging(Logging(file=None))
    assert len(list(logs.glob("service.log.*"))) > 1
    assert [line["message"] for line in received] == [f"line {number}" for number in range(40)]
    assert received[0]["audio_seconds"] == 2.5
