"""This machine in, the service's speed beside its peers' out. `python -m loadtest.bench --help`.

Exit code 0: every bound was kept; 1: one was missed; 2: nothing could be measured.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loadtest.bench.picture import draw
from loadtest.bench.plan import FASTER_WHISPER, PEERS, SERVICE, Field
from loadtest.bench.report import Report, as_json, as_markdown
from loadtest.bench.rounds import Bench, Ground
from loadtest.bench.running import changed
from loadtest.bench.samples import Start
from loadtest.bench.verdicts import verdicts
from loadtest.bench.workloads import FULL, QUICK, workloads
from loadtest.clips import Clip, default_clips, load_clips
from loadtest.errors import CannotRun
from loadtest.origin import origin
from loadtest.service import leave_on_sigterm
from whisper_serve.config.load import Config, load_config
from whisper_serve.errors import StartError
from whisper_serve.host.hardware import count_cpus
from whisper_serve.weights.download import fetch

ROOT = Path(__file__).resolve().parents[2]
QUEUED_S = 3600.0  # of audio in the service: its callers wait as the peers' do, and none is refused
PACKAGES = ("ray", "ctranslate2", "faster-whisper", "openai-whisper", "torch", "openvino", "pywhispercpp")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m loadtest.bench",
        description="The service over HTTP beside faster-whisper, openai-whisper and whisper.cpp, by turns.",
    )
    p.add_argument("--quick", action="store_true", help="few clips, one round; no bounds on word errors")
    p.add_argument("--rounds", type=int, help=f"default {FULL.rounds}, quick {QUICK.rounds}")
    p.add_argument("--cpus", type=int, help="of this machine's, for each contestant; default: all")
    p.add_argument("--replicas", type=int, help="of the service; default: as configured")
    p.add_argument("--config", type=Path, default=ROOT / "config.json", help="the service's configuration")
    p.add_argument("--peers", type=peers, default=PEERS, help=f"of {', '.join(PEERS)}")
    p.add_argument("--clips", type=Path, help="folder of recordings with a manifest.jsonl (path, transcript)")
    p.add_argument(
        "--out", type=Path, default=ROOT / "loadtest/results", help="folder of bench.json, .md, .png"
    )
    return p


def peers(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(PEERS)}")
    return names


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    command = shlex.join(["python", "-m", "loadtest.bench", *argv])
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            report = measure(args, Path(scratch), command)
    except (CannotRun, StartError) as e:
        print(e, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    write(report, args.out)
    return 1 if report.missed else 0


def measure(args: argparse.Namespace, scratch: Path, command: str) -> Report:
    """Raises CannotRun or StartError."""
    began, cpus = time.perf_counter(), confine(args.cpus)
    made = origin(command, args.config, os.environ, ROOT)
    config = load_config(args.config)
    extent = QUICK if args.quick else FULL
    extent = replace(extent, rounds=args.rounds or extent.rounds)
    decks = workloads(load_clips(args.clips) if args.clips else default_clips(), extent, scratch)
    overrides: dict[str, dict[str, Any]] = {"server": {"max_queued_audio_s": QUEUED_S}}
    if args.replicas:
        overrides["deployment"] = {"num_replicas": args.replicas}
    bench = Bench(
        Ground(args.config, ROOT, args.out, decks, extent), field_of(args.peers, config, cpus, overrides)
    )
    bench.hold()
    return Report(
        origin=replace(made, config=changed(made.config, overrides)),
        versions=versions(),
        recordings={name: described(deck) for name, deck in decks.items()},
        tried=tuple(bench.tried),
        left_out=bench.left_out,
        seconds=time.perf_counter() - began,
        lines=tuple(bench.lines),
        rows=tuple(verdicts(bench.lines, args.replicas or config.deployment.num_replicas, not args.quick)),
    )


def confine(cpus: int | None) -> int:
    """Keep this process, and all it will start, to so many CPUs; -> how many there are to use."""
    count = count_cpus()
    if cpus is None or cpus == count:
        return count
    if not 0 < cpus < count or not hasattr(os, "sched_setaffinity"):
        raise CannotRun(f"this process cannot be kept to {cpus} of {count} CPUs")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
    return cpus


def field_of(
    names: tuple[str, ...], config: Config, cpus: int, overrides: Mapping[str, Mapping[str, Any]]
) -> Field:
    """Who takes part; the weights are fetched where someone but the service needs them."""
    weights = weights_of(config) if set(names) - {SERVICE} else ""
    start = Start(FASTER_WHISPER, threads=cpus, weights=weights)
    return Field(names, overrides, start, start, cpus, weights)


def weights_of(config: Config) -> str:
    """The CTranslate2 folder of the service's model, which all peers can be made from."""
    weights = fetch(config.model.size, ROOT / config.model.model_dir)
    if not weights.is_dir():
        model_folder = import_module("whisper_serve.engines.ctranslate2").model_folder  # it loads torch
        weights = model_folder(weights)
    return str(weights.resolve())


def described(deck: Sequence[Clip]) -> str:
    longest = max(deck, key=lambda clip: clip.seconds)
    return f"{len(deck)}, {sum(clip.seconds for clip in deck):.0f} s in all, the longest {longest.name}"


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def write(report: Report, folder: Path) -> None:
    (folder / "bench.json").write_text(as_json(report), encoding="utf-8")
    (folder / "bench.md").write_text(as_markdown(report), encoding="utf-8")
    draw(report, folder / "bench.png")
    print(as_markdown(report))
    print(f"{folder / 'bench.json'}, .md, .png; {len(report.missed)} bounds missed")


if __name__ == "__main__":
    leave_on_sigterm()
    sys.exit(main(sys.argv[1:]))
