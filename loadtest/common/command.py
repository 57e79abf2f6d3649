"""Command lines of the verbs: the options they share, and their exit codes."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from loadtest.common import RESULTS, ROOT
from loadtest.common.errors import CannotRun
from whisper_serve.errors import StartError

SHARED: dict[str, dict[str, Any]] = {
    "--config": {"default": ROOT / "config.json", "help": "the service's configuration"},
    "--clips": {"help": "folder of recordings with a manifest.jsonl (path, transcript)"},
    "--out": {"default": RESULTS, "help": "folder of the results"},
}


def parser(verb: str, about: str, *shared: str) -> argparse.ArgumentParser:
    """A parser for `python -m <verb>` with some of the SHARED options."""
    made = argparse.ArgumentParser(prog=f"python -m {verb}", description=about)
    for name in shared:
        made.add_argument(name, type=Path, **SHARED[name])
    return made


def names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """An argparse type: some of `known`, separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
        if unknown := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return found

    return parse


def numbers(text: str) -> tuple[float, ...]:
    """An argparse type: numbers separated by commas."""
    return tuple(float(number) for number in text.split(",") if number.strip())


def exit_code(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """What `main` returns; 2 where nothing could be measured, which is said on stderr."""
    try:
        return main(argv)
    except (CannotRun, StartError) as e:
        print(e, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a verb as this process; SIGTERM ends it as an error would, so that what it started is stopped."""
    signal.signal(signal.SIGTERM, _leave)
    sys.exit(exit_code(main, sys.argv[1:]))


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)
