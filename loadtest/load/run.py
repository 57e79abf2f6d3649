"""Load test of a service: JSON, Markdown and a page. `python -m loadtest --help`.

Exit code 0: every answer was right or a refusal; 1: some were not; 2: nothing could be measured.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from loadtest.common import ROOT, command
from loadtest.common.clips import COUNT, MIXES, Clip, digest, mixed
from loadtest.common.errors import CannotRun
from loadtest.common.markdown import save
from loadtest.common.protocols import PROTOCOLS
from loadtest.common.provenance import origin
from loadtest.common.service import allowed, own_service, served_model
from loadtest.common.speech import clips_of
from loadtest.load.answers import MAX_WER
from loadtest.load.page import as_html
from loadtest.load.report import Report, Setting, against, as_json, last_like, report_of
from loadtest.load.samples import Run
from loadtest.load.shapes import SHAPES, Plan, Stage, stages
from loadtest.load.table import as_markdown


def parser() -> argparse.ArgumentParser:
    about = "Put load on a service, check every answer."
    p = command.parser("loadtest", about, "--config", "--clips", "--out")
    shapes = "; ".join(f"{name}: {row.about}" for name, row in SHAPES.items())
    p.add_argument("--url", default="", help="a running service; without it one is started and stopped here")
    p.add_argument("--protocol", choices=PROTOCOLS, default="transcribe")
    p.add_argument("--shape", choices=SHAPES, default="ladder", help=shapes)
    p.add_argument(
        "--ladder", type=command.numbers, default=(), help="users, or arrivals/s, of each stage: 4,8,16"
    )
    p.add_argument("--seconds", type=float, default=20.0, help="measured at each stage")
    p.add_argument("--warmup", type=float, default=5.0, help="seconds before that, which are not counted")
    p.add_argument("--mix", choices=MIXES, default="mixed", help="lengths of the clips")
    p.add_argument("--clip-count", type=int, default=COUNT, help="clips to use, evenly over their lengths")
    p.add_argument("--max-wer", type=float, default=MAX_WER, help="with more wrong words an answer is wrong")
    p.add_argument("--seed", type=int, default=0, help="of the clips' order and the arrivals")
    p.add_argument("--name", help="of the report's files, without ending; default: the moment and the load")
    return p


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    made = origin("loadtest", argv, args.config)
    planned = stages(args.shape, args.ladder, args.seconds, args.warmup)
    clips = tuple(mixed(clips_of(args.clips), args.mix, args.clip_count))
    args.out.mkdir(parents=True, exist_ok=True)
    with _service(args) as url:
        model = served_model(url) or made.model
        run = _drive(args, planned, clips, url)
    report = report_of(run, made, Setting(args.protocol, args.shape, args.mix, digest(clips)), model)
    report = against(report, last_like(report, args.out))
    texts = {".json": as_json(report), ".md": as_markdown(report), ".html": as_html(report)}
    save(args.out / (args.name or _name(report)), texts)
    return 1 if report.failed else 0


@contextmanager
def _service(args: argparse.Namespace) -> Iterator[str]:
    if args.url:
        yield allowed(args.url, os.environ)
        return
    log = args.out / "service.log"
    print(f"starting a service of our own; its log is {log}", file=sys.stderr)
    with own_service(args.config, log) as service:
        yield service.url


def _drive(args: argparse.Namespace, planned: tuple[Stage, ...], clips: tuple[Clip, ...], url: str) -> Run:
    """Run locust in a process of its own; raises CannotRun where it could not measure."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run.json")
        plan = Plan(args.protocol, planned, clips, args.max_wer, args.seed, url, out)
        driver = [sys.executable, "-m", "loadtest.load.drive"]
        ended = subprocess.run(driver, input=TypeAdapter(Plan).dump_json(plan), cwd=ROOT, check=False)
        if ended.returncode:
            raise CannotRun(f"nothing was measured: the driver ended with {ended.returncode}")
        return TypeAdapter(Run).validate_json(out.read_bytes())


def _name(report: Report) -> str:
    stamp = report.origin.taken[:19].replace(":", "").replace("-", "")
    return f"{stamp}-{report.setting.protocol}-{report.setting.shape}-{report.setting.mix}"
