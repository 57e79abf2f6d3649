"""What main.py shows of the log lines of all processes."""

import io
import json

from whisper_serve.telemetry.console import Console

ACCESS = {
    "time": "2026-01-01 12:31:05,123",
    "name": "whisper_serve.access",
    "level": "INFO",
    "message": "POST /transcribe 200",
    "seconds": 0.381,
    "caller": "ada",
    "audio_seconds": 10.6,
    "decode_ms": 14.2,
    "request_id": "abc",
}
FORK = (
    "I0000 00:00:1 fork_posix.cc:71] Other threads are currently calling into gRPC, skipping fork() handlers"
)


def shown(line: str, as_lines: bool) -> list[str]:
    out = io.StringIO()
    Console(as_lines, out).forward({"lines": [line], "pid": 7, "is_err": True})
    return out.getvalue().splitlines()


def test_a_person_is_shown_a_request_in_one_short_line() -> None:
    assert shown(json.dumps(ACCESS), as_lines=False) == [
        "12:31:05 POST /transcribe 200  0.381 s, 10.6 s of audio, ada"
    ]


def test_a_program_is_given_the_line_as_it_was_written() -> None:
    (line,) = shown(json.dumps(ACCESS), as_lines=True)
    assert json.loads(line) == ACCESS


def test_a_line_of_a_library_is_json_too_where_a_program_reads() -> None:
    (line,) = shown("Traceback (most recent call last):", as_lines=True)
    assert {
        "level": "INFO",
        "name": "ray",
        "message": "Traceback (most recent call last):",
    }.items() <= json.loads(line).items()
    assert shown("Traceback", as_lines=False) == ["Traceback"]


def test_an_error_is_shown_with_its_level_and_its_traceback() -> None:
    failed = ACCESS | {
        "name": "whisper_serve",
        "level": "ERROR",
        "message": "broken",
        "exc_info": "Traceback\n  x",
    }
    lines = shown(json.dumps(failed), as_lines=False)
    assert lines[0].startswith("12:31:05 error: broken  seconds 0.381")
    assert lines[1:] == ["Traceback", "  x"]


def test_what_nobody_can_do_anything_about_is_left_out() -> None:
    assert shown(FORK, as_lines=True) == shown(FORK, as_lines=False) == []


def test_a_sentence_with_rows_is_a_table_or_one_json_object() -> None:
    text, lines = io.StringIO(), io.StringIO()
    Console(False, text).say("ready", rows={"model": "base"})
    Console(True, lines).say("ready", "WARNING", rows={"model": "base"})
    assert text.getvalue() == "ready\n  model      base\n"
    fields = json.loads(lines.getvalue())
    assert fields.pop("time")
    assert fields == {"name": "whisper_serve", "level": "WARNING", "message": "ready", "model": "base"}
