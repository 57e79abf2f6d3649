"""The service's log: JSON lines with request ids, to standard error and to rotating files.

Several processes write the same files; the rotating handler takes a lock for each line. Audio and keys are never logged,
transcripts only where `logging.transcripts` is set.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from concurrent_log_handler import ConcurrentRotatingFileHandler
from pythonjsonlogger.json import JsonFormatter

from whisper_serve.telemetry.settings import Logging

NAME = "whisper_serve"
ACCESS = f"{NAME}.access"  # a line for each request, at its end

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def set_up_logging(config: Logging) -> logging.Logger:
    """Configure the service's logger; calling it again replaces its handlers."""
    logger = logging.getLogger(NAME)
    formatter = JsonFormatter(config.format, rename_fields={"asctime": "time", "levelname": "level"})
    for handler in (*logger.handlers,):
        logger.removeHandler(handler)
        handler.close()
    for handler in handlers(config):
        handler.setFormatter(formatter)
        handler.addFilter(add_request_id)
        logger.addHandler(handler)
    logger.setLevel(config.level)
    logger.propagate = False  # Ray's root handlers would print each line again
    return logger


def handlers(config: Logging) -> Iterator[logging.Handler]:
    yield logging.StreamHandler()
    files: list[tuple[str | None, Callable[[logging.LogRecord], bool]]] = [
        (config.file, (lambda record: not is_access(record)) if config.access_file else (lambda _: True)),
        (config.access_file, is_access),
        (config.error_file, lambda record: record.levelno >= logging.ERROR),
    ]
    for path, wanted in files:
        if path:
            handler = ConcurrentRotatingFileHandler(
                path, maxBytes=int(config.max_mb * 1e6), backupCount=config.backups, encoding="utf-8"
            )
            handler.addFilter(wanted)
            yield handler


def is_access(record: logging.LogRecord) -> bool:
    return record.name == ACCESS


def add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = getattr(record, "request_id", None) or _request_id.get()
    return True


def request_id() -> str:
    """The id of the request being served here; empty outside one."""
    return _request_id.get()


@contextmanager
def request(id: str) -> Iterator[None]:
    """Log lines written inside carry this request id."""
    token = _request_id.set(id)
    try:
        yield
    finally:
        _request_id.reset(token)
