"""A service in, a report out: JSON, Markdown and a page. `python -m loadtest --help`.

Exit code 0: every answer was right or a refusal; 1: some were not; 2: nothing could be measured.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from loadtest.answers import MAX_WER
from loadtest.clips import COUNT, MIXES, default_clips, digest, load_clips, mixed
from loadtest.errors import CannotRun
from loadtest.origin import origin
from loadtest.page import as_html
from loadtest.plan import Plan
from loadtest.protocols import PROTOCOLS
from loadtest.report import Report, Setting, against, as_json, last_like, report_of
from loadtest.samples import Run
from loadtest.service import allowed, leave_on_sigterm, own_service, told_model
from loadtest.shapes import SHAPES, stages
from loadtest.table import as_markdown

ROOT = Path(__file__).resolve().parents[1]


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m loadtest", description="Put load on a service, check every answer."
    )
    shapes = "; ".join(f"{name}: {row.about}" for name, row in SHAPES.items())
    p.add_argument("--url", default="", help="a running service; without it one is started and stopped here")
    p.add_argument("--config", type=Path, default=ROOT / "config.json", help="the service's configuration")
    p.add_argument("--protocol", choices=PROTOCOLS, default="transcribe")
    p.add_argument("--shape", choices=SHAPES, default="ladder", help=shapes)
    p.add_argument("--ladder", type=levels, default=(), help="users, or arrivals/s, of each stage: 4,8,16")
    p.add_argument("--seconds", type=float, default=20.0, help="measured at each stage")
    p.add_argument("--warmup", type=float, default=5.0, help="seconds before that, which are not counted")
    p.add_argument("--mix", choices=MIXES, default="mixed", help="lengths of the clips")
    p.add_argument("--clips", type=Path, help="folder of recordings with a manifest.jsonl (path, transcript)")
    p.add_argument("--clip-count", type=int, default=COUNT, help="clips to use, evenly over their lengths")
    p.add_argument(
        "--max-wer", type=float, default=MAX_WER, help="an answer with more wrong words is a failure"
    )
    p.add_argument("--seed", type=int, default=0, help="of the clips' order and the arrivals")
    p.add_argument("--out", type=Path, default=ROOT / "loadtest/results", help="folder of the reports")
    p.add_argument("--name", help="of the report's files, without ending; default: the moment and the load")
    return p


def levels(text: str) -> tuple[float, ...]:
    return tuple(float(level) for level in text.split(",") if level.strip())


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    made = origin(shlex.join(["python", "-m", "loadtest", *argv]), args.config, os.environ, ROOT)
    try:
        plan = _plan(args)
        args.out.mkdir(parents=True, exist_ok=True)
        with _service(args) as url:
            model = told_model(url) or made.model
            run = _drive(replace(plan, url=url))
    except CannotRun as e:
        print(e, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    setting = Setting(plan.protocol, args.shape, args.mix, digest(plan.clips))
    report = report_of(run, made, setting, model)
    report = against(report, last_like(report, args.out))
    _write(report, args.out / (args.name or _name(report)))
    return 1 if report.failed else 0


def _plan(args: argparse.Namespace) -> Plan:
    clips = load_clips(args.clips) if args.clips else default_clips()
    return Plan(
        args.protocol,
        stages(args.shape, args.ladder, args.seconds, args.warmup),
        tuple(mixed(clips, args.mix, args.clip_count)),
        args.max_wer,
        args.seed,
    )


@contextmanager
def _service(args: argparse.Namespace) -> Iterator[str]:
    if args.url:
        yield allowed(args.url, os.environ)
        return
    log = args.out / "service.log"
    print(f"starting a service of our own; its log is {log}", file=sys.stderr)
    with own_service(args.config, ROOT, log) as url:
        yield url


def _drive(plan: Plan) -> Run:
    """Run locust in a process of its own; raises CannotRun where it could not measure."""
    with tempfile.TemporaryDirectory() as folder:
        plan = replace(plan, out=str(Path(folder) / "run.json"))
        command = [sys.executable, "-m", "loadtest.drive"]
        ended = subprocess.run(command, input=plan.as_json(), text=True, cwd=ROOT, check=False)
        if ended.returncode:
            raise CannotRun(f"nothing was measured: the driver ended with {ended.returncode}")
        return Run.from_json(Path(plan.out).read_text(encoding="utf-8"))


def _name(report: Report) -> str:
    stamp = report.origin.taken[:19].replace(":", "").replace("-", "")
    return f"{stamp}-{report.setting.protocol}-{report.setting.shape}-{report.setting.mix}"


def _write(report: Report, name: Path) -> None:
    """Write the three files of a report and show its table."""
    table = as_markdown(report)
    for ending, text in ((".json", as_json(report)), (".md", table), (".html", as_html(report))):
        name.with_name(name.name + ending).write_text(text, encoding="utf-8")
    print(table)
    print(f"{name}.json, .md, .html")


if __name__ == "__main__":
    leave_on_sigterm()
    sys.exit(main(sys.argv[1:]))
