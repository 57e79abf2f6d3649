"""The service's log: JSON lines with request ids, to standard error and to rotating files.

Several processes write the same files; the rotating handler takes a lock for each line. Audio and keys are never logged,
transcripts only where `logging.transcripts` is set.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter

from whisper_serve.telemetry.log_files import log_file
from whisper_serve.telemetry.settings import Logging

NAME = "whisper_serve"
ACCESS = f"{NAME}.access"  # a line for each request, at its end
AUDIT = f"{NAME}.audit"  # a line for each event that a security audit asks about

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def set_up_logging(config: Logging) -> logging.Logger:
    """Configure the service's logger; calling it again replaces its handlers."""
    logger = with_handlers(NAME, config, [logging.StreamHandler(), *file_handlers(config)])
    logger.setLevel(config.level)
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    return logger


def set_up_audit(config: Logging) -> None:
    """Configure the audit log alone, for a process that logs nothing else."""
    path = config.audit_file or config.file
    with_handlers(AUDIT, config, [log_file(path, config)] if path else [logging.NullHandler()])
    logging.getLogger(AUDIT).setLevel(logging.INFO)


def with_handlers(name: str, config: Logging, handlers: Sequence[logging.Handler]) -> logging.Logger:
    """A logger with these handlers in the place of those that it had."""
    logger = logging.getLogger(name)
    formatter = JsonFormatter(config.format, rename_fields={"asctime": "time", "levelname": "level"})
    for handler in (*logger.handlers,):
        logger.removeHandler(handler)
        handler.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(add_request_id)
        logger.addHandler(handler)
    logger.propagate = False  # Ray's root handlers would print each line again
    return logger


def file_handlers(config: Logging) -> Iterator[logging.Handler]:
    """One for each file of the config, which takes the lines that belong there."""
    apart = {ACCESS: config.access_file, AUDIT: config.audit_file}
    files: list[tuple[str | None, Callable[[logging.LogRecord], bool]]] = [
        (config.file, lambda record: not apart.get(record.name)),
        (config.access_file, lambda record: record.name == ACCESS),
        (config.audit_file, lambda record: record.name == AUDIT),
        (config.error_file, lambda record: record.levelno >= logging.ERROR),
    ]
    for path, wanted in files:
        if path:
            handler = log_file(path, config)
            handler.addFilter(wanted)
            yield handler


def audit(event: str, **fields: object) -> None:
    """Write an event, such as "key refused", into the audit log. Fields never hold a key or what was said."""
    logging.getLogger(AUDIT).info(event, extra=fields)


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
