"""What main.py shows: sentences of its own and the log lines of all processes, for people on a terminal, as JSON elsewhere."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from whisper_serve.telemetry.logs import ACCESS, NAME
from whisper_serve.telemetry.settings import Logging

# What libraries print that nobody can do anything about.
NOISE = (
    "All log messages before absl::InitializeLog() is called are written to STDERR",
    "Other threads are currently calling into gRPC, skipping fork() handlers",
)
# Fields of a log line that a person is not shown: they are in the files.
HIDDEN = {"time", "name", "level", "message", "request_id", "exc_info"}
UNITS = {"seconds": "s", "audio_seconds": "s of audio"}


class Console:
    """as_lines: of JSON, one object each, in place of text."""

    def __init__(self, as_lines: bool, out: TextIO) -> None:
        self._show: Callable[[Mapping[str, Any]], str] = as_json if as_lines else as_text
        self._json = as_lines
        self._out = out

    def say(self, message: str, level: str = "INFO", rows: Mapping[str, str] | None = None) -> None:
        """A sentence of main.py itself; rows: what follows it as a table, or as more fields of the JSON line."""
        if self._json:
            self._print(as_json(record(message, level) | {**(rows or {})}))
        else:
            table = [f"  {name:<10} {value}" for name, value in (rows or {}).items()]
            self._print("\n".join([with_level(message, level), *table]))

    def forward(self, batch: Mapping[str, Any]) -> None:
        """Lines that a process of the service wrote to its output, as Ray brings them: {"lines": [...], "is_err": ...}."""
        for line in batch["lines"] if batch.get("pid") != "autoscaler" else ():
            if any(noise in line for noise in NOISE):
                continue
            ours = parsed(line)
            if ours is None and self._json:
                ours = record(line, "INFO", name="ray")
            self._print(self._show(ours) if ours else line)

    def _print(self, line: str) -> None:
        print(line, file=self._out, flush=True)


def open_console(config: Logging) -> Console:
    """As `logging.console` says; `auto`: text where a person looks at it, which is on a terminal."""
    wants_lines = config.console == "json" or (config.console == "auto" and not sys.stdout.isatty())
    return Console(wants_lines, sys.stdout)


def record(message: str, level: str, name: str = NAME) -> dict[str, Any]:
    moment = time.time()
    milliseconds = f"{moment % 1:.3f}"[2:]
    return {
        "time": f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(moment))},{milliseconds}",
        "name": name,
        "level": level,
        "message": message,
    }


def parsed(line: str) -> dict[str, Any] | None:
    """A line of the service's log; None for any other."""
    if not line.startswith("{"):
        return None
    try:
        fields: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return fields if {"time", "name", "level", "message"} <= fields.keys() else None


def as_json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False)


def as_text(fields: Mapping[str, Any]) -> str:
    """Such as: 12:31:05 POST /transcribe 200  0.38 s, 10.6 s of audio, ada."""
    clock = str(fields["time"]).partition(" ")[2].partition(",")[0]
    line = f"{clock} {with_level(str(fields['message']), str(fields['level']))}"
    shown = request_fields(fields) if fields["name"] == ACCESS else other_fields(fields)
    if shown:
        line += "  " + ", ".join(shown)
    return f"{line}\n{fields['exc_info']}" if fields.get("exc_info") else line


def request_fields(fields: Mapping[str, Any]) -> list[str]:
    times = [f"{fields[name]:g} {unit}" for name, unit in UNITS.items() if name in fields]
    return [*times, *([str(fields["caller"])] if fields.get("caller") else [])]


def other_fields(fields: Mapping[str, Any]) -> list[str]:
    return [f"{name} {value}" for name, value in fields.items() if name not in HIDDEN and value != ""]


def with_level(message: str, level: str) -> str:
    return message if level in ("INFO", "DEBUG") else f"{level.lower()}: {message}"
