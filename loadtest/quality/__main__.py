"""Recordings whose words are known in, a table of the service's quality out. `python -m loadtest.quality --help`.

Exit code 0: every bound was kept; 1: one was missed; 2: nothing could be measured. To add a
figure: a function that answers Rows, called in `measure`.
"""

import argparse
import asyncio
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from loadtest.errors import CannotRun
from loadtest.origin import origin
from loadtest.quality import cost, english, invented, languages, replicas, times
from loadtest.quality.answer import Answer
from loadtest.quality.corpus import LONG, Recording, load_recordings
from loadtest.quality.ear import config_for, hear
from loadtest.quality.report import Report, Row, as_json, as_markdown, as_text
from loadtest.speech import SHARED
from whisper_serve.engines import ENGINES
from whisper_serve.errors import StartError

ROOT = Path(__file__).resolve().parents[2]
REAL = tuple(name for name in ENGINES if name != "fake")
DEFAULT = ("openvino", "openai_whisper")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m loadtest.quality",
        description="Word error rates, invented words, languages, word times, two replicas' worth, memory.",
    )
    p.add_argument("--speech", type=Path, default=SHARED, help="folder of recordings with a manifest.jsonl")
    p.add_argument("--config", type=Path, default=ROOT / "config.json", help="the service's configuration")
    p.add_argument(
        "--engines",
        type=engines,
        default=DEFAULT,
        help=f"of {', '.join(REAL)}; the first is the measure",
    )
    p.add_argument(
        "--quick", action="store_true", help="a few recordings of each kind; no bounds on word errors"
    )
    p.add_argument(
        "--no-replicas", action="store_true", help="do not start the service, with one replica and two"
    )
    p.add_argument(
        "--out", type=Path, default=ROOT / "loadtest/results", help="folder of quality.json and .md"
    )
    return p


def engines(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in REAL]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(REAL)}")
    return names


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    began = time.perf_counter()
    made = origin(shlex.join(["python", "-m", "loadtest.quality", *argv]), args.config, os.environ, ROOT)
    try:
        rows = tuple(measure(args))
    except (CannotRun, StartError) as e:
        print(e, file=sys.stderr)
        return 2
    report = Report(made, args.engines, time.perf_counter() - began, rows)
    write(report, args.out)
    return 1 if report.missed else 0


def measure(args: argparse.Namespace) -> Iterator[Row]:
    """All figures. Raises CannotRun or StartError."""
    recordings = load_recordings(args.speech, args.quick)
    answers = [answer for engine in args.engines for answer in heard(engine, args.config, recordings)]
    yield from english.rows(answers, judge=not args.quick)
    yield from invented.rows(answers)
    yield from languages.rows(answers)
    yield from times.rows(answers)
    yield from cost.rows(args.speech, args.quick)
    long = [r for r in recordings if r.folder == LONG]
    if long and not args.no_replicas:
        print("starting the service with one replica and two, by turns", file=sys.stderr)
        yield from replicas.rows(args.config, ROOT, long[0])


def heard(engine: str, config: Path, recordings: Sequence[Recording]) -> list[Answer]:
    total = round(sum(r.seconds for r in recordings))
    with tqdm(total=total, desc=engine, unit=" s of audio", disable=None) as bar:
        return asyncio.run(
            hear(config_for(engine, config), recordings, lambda r: bar.update(round(r.seconds)))
        )


def write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "quality.json").write_text(as_json(report), encoding="utf-8")
    (folder / "quality.md").write_text(as_markdown(report), encoding="utf-8")
    print(as_text(report.rows))
    print(f"\n{folder / 'quality.json'}, .md; {len(report.missed)} bounds missed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
