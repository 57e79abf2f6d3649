"""Quality of the service on recordings whose words are known. `python -m loadtest.quality --help`.

Exit code 0: every bound was kept; 1: one was missed; 2: nothing could be measured. To add a
figure: a function that answers Rows, called in `measure`.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from loadtest.common import bounds, command, markdown
from loadtest.common.bounds import Row
from loadtest.common.clips import Clip
from loadtest.common.provenance import Origin, origin
from loadtest.common.speech import SHARED
from loadtest.quality import cost, replicas, times, words
from loadtest.quality.corpus import LONG, Answer, load_recordings
from loadtest.quality.in_process import config_for, transcribe
from whisper_serve.engines import ENGINES

REAL = tuple(name for name in ENGINES if name != "fake")
DEFAULT = ("openvino", "openai_whisper")


@dataclass(frozen=True, slots=True)
class Report:
    origin: Origin
    engines: tuple[str, ...]
    seconds: float  # the whole took
    rows: tuple[Row, ...]


def as_markdown(report: Report) -> str:
    facts = report.origin.facts | {
        "Took": f"{report.seconds / 60:.0f} minutes",
        "Engines": ", ".join(report.engines),
        "Bounds missed": ", ".join(bounds.missed(report.rows)) or "none",
    }
    return markdown.document("Quality", facts, [bounds.verdicts(report.rows)], report.origin.config)


def as_json(report: Report) -> str:
    return markdown.as_json(asdict(report) | {"rows": bounds.as_fields(report.rows)})


def parser() -> argparse.ArgumentParser:
    about = "Word error rates, invented words, languages, word times, two replicas' worth, memory."
    p = command.parser("loadtest.quality", about, "--config", "--out")
    p.add_argument("--speech", type=Path, default=SHARED, help="folder of recordings with a manifest.jsonl")
    known = f"of {', '.join(REAL)}; the first is the measure"
    p.add_argument("--engines", type=command.names(REAL), default=DEFAULT, help=known)
    p.add_argument("--quick", action="store_true", help="a few recordings of each kind; no bounds on words")
    p.add_argument(
        "--no-replicas", action="store_true", help="do not start the service with 1 and 2 replicas"
    )
    return p


def main(argv: Sequence[str]) -> int:
    args, began = parser().parse_args(argv), time.perf_counter()
    made = origin("loadtest.quality", argv, args.config)
    rows = tuple(measure(args))
    report = Report(made, args.engines, time.perf_counter() - began, rows)
    markdown.save(args.out / "quality", {".json": as_json(report), ".md": as_markdown(report)})
    return 1 if bounds.missed(rows) else 0


def measure(args: argparse.Namespace) -> Iterator[Row]:
    """All figures. Raises CannotRun or StartError."""
    recordings = load_recordings(args.speech, args.quick)
    answers = [a for engine in args.engines for a in transcribed(engine, args.config, recordings)]
    yield from words.english(answers, judge=not args.quick)
    yield from words.invented(answers)
    yield from words.languages(answers)
    yield from times.rows(answers)
    yield from cost.rows(args.speech, args.quick)
    long = [r for r in recordings if r.part == LONG]
    if long and not args.no_replicas:
        print("starting the service with one replica and two, by turns", file=sys.stderr)
        yield from replicas.rows(args.config, long[0])


def transcribed(engine: str, config: Path, recordings: Sequence[Clip]) -> list[Answer]:
    total = round(sum(r.seconds for r in recordings))
    with tqdm(total=total, desc=engine, unit=" s of audio", disable=None) as bar:
        made = transcribe(config_for(engine, config), recordings, lambda r: bar.update(round(r.seconds)))
        return asyncio.run(made)


if __name__ == "__main__":
    command.run(main)
