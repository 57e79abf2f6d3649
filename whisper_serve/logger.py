"""The service's log: JSON lines, one request id each, to standard error and one rotating file.

Several processes write the same file; the rotating handler takes a lock per line.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from concurrent_log_handler import ConcurrentRotatingFileHandler
from pythonjsonlogger.json import JsonFormatter

from whisper_serve.config import Logging

NAME = "whisper_serve"

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def set_up_logging(config: Logging) -> logging.Logger:
    """Give the service's logger its level, format and places; calling it again changes them."""
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
    if config.file:
        yield ConcurrentRotatingFileHandler(
            config.file, maxBytes=int(config.max_mb * 1e6), backupCount=config.backups, encoding="utf-8"
        )


def add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = getattr(record, "request_id", None) or _request_id.get()
    return True


def request_id() -> str:
    """The id of the request being served here; empty outside one."""
    return _request_id.get()


@contextmanager
def request(id: str) -> Iterator[None]:
    """Log lines and calls inside carry this request id."""
    token = _request_id.set(id)
    try:
        yield
    finally:
        _request_id.reset(token)
