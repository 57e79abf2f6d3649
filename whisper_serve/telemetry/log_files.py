"""Log files that several processes write at once, that are rotated, and that only their owner can read."""

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from concurrent_log_handler import ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler

from whisper_serve.telemetry.settings import Logging

OWNER_ONLY = 0o600
COMPLAINT_PERIOD_S = 60.0


class Unwritten(logging.Handler):
    """Lines that could not be written, of which logging would print a traceback each: told once a minute, with their number."""

    lines = 0
    told = float("-inf")

    def handleError(self, record: logging.LogRecord) -> None:
        self.lines += 1
        if time.monotonic() - self.told < COMPLAINT_PERIOD_S:
            return
        error, path = sys.exc_info()[1], getattr(self, "baseFilename", "")
        print(
            f"log lines that cannot be written to {path}: {self.lines} ({error})", file=sys.stderr, flush=True
        )
        self.lines, self.told = 0, time.monotonic()


class SizeRotated(Unwritten, ConcurrentRotatingFileHandler):
    pass


class DailyRotated(Unwritten, ConcurrentTimedRotatingFileHandler):
    pass


def by_size(path: str, config: Logging) -> logging.Handler:
    return SizeRotated(
        path,
        maxBytes=int(config.max_mb * 1e6),
        backupCount=config.backups,
        encoding="utf-8",
        chmod=OWNER_ONLY,
    )


def daily(path: str, config: Logging) -> logging.Handler:
    """At midnight UTC; within a day by size as well."""
    return DailyRotated(
        path,
        when="midnight",
        utc=True,
        maxBytes=int(config.max_mb * 1e6),
        backupCount=config.backups,
        encoding="utf-8",
        chmod=OWNER_ONLY,
    )


ROTATIONS: dict[str, Callable[[str, Logging], logging.Handler]] = {"size": by_size, "daily": daily}


def log_file(path: str, config: Logging) -> logging.Handler:
    """A handler for the file, which is made readable to its owner only, where an earlier version left it open to all too."""
    if Path(path).is_file():
        with suppress(OSError):  # it is another's
            Path(path).chmod(OWNER_ONLY)
    return ROTATIONS[config.rotate](path, config)
