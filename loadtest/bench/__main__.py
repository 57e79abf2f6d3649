"""The service over HTTP beside faster-whisper, openai-whisper and whisper.cpp. `python -m loadtest.bench --help`.

Exit code 0: every bound was kept; 1: one was missed; 2: nothing could be measured.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from loadtest.bench import report
from loadtest.bench.child import Start
from loadtest.bench.plan import FASTER_WHISPER, PEERS, SERVICE, Field
from loadtest.bench.plots import draw
from loadtest.bench.report import Report
from loadtest.bench.rounds import Bench, Setup
from loadtest.bench.verdicts import verdicts
from loadtest.bench.workloads import FULL, QUICK, workloads
from loadtest.common import ROOT, bounds, command, markdown
from loadtest.common.clips import Clip
from loadtest.common.errors import CannotRun
from loadtest.common.provenance import origin
from loadtest.common.service import Sections, changed
from loadtest.common.speech import clips_of
from whisper_serve.config.load import Config, load_config
from whisper_serve.engines.whisper.convert import ctranslate2_folder
from whisper_serve.host.hardware import count_cpus
from whisper_serve.weights.download import fetch

QUEUED_S = 3600.0  # of audio in the service: its callers wait as the peers' do, and none is refused
PACKAGES = ("ray", "ctranslate2", "faster-whisper", "openai-whisper", "torch", "openvino", "pywhispercpp")


def parser() -> argparse.ArgumentParser:
    about = "The service over HTTP beside faster-whisper, openai-whisper and whisper.cpp, by turns."
    p = command.parser("loadtest.bench", about, "--config", "--clips", "--out")
    p.add_argument("--quick", action="store_true", help="few clips, one round; no bounds on word errors")
    p.add_argument("--rounds", type=int, help=f"default {FULL.rounds}, quick {QUICK.rounds}")
    p.add_argument("--cpus", type=int, help="of this machine's, for each contestant; default: all")
    p.add_argument("--replicas", type=int, help="of the service; default: as configured")
    p.add_argument("--peers", type=command.names(PEERS), default=PEERS, help=f"of {', '.join(PEERS)}")
    return p


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        made = measure(args, argv, Path(scratch))
    draw(made, args.out / "bench.png")
    markdown.save(args.out / "bench", {".json": report.as_json(made), ".md": report.as_markdown(made)})
    return 1 if bounds.missed(made.rows) else 0


def measure(args: argparse.Namespace, argv: Sequence[str], scratch: Path) -> Report:
    """Raises CannotRun or StartError."""
    began, cpus = time.perf_counter(), confine(args.cpus)
    made, config = origin("loadtest.bench", argv, args.config), load_config(args.config)
    extent = QUICK if args.quick else FULL
    extent = replace(extent, rounds=args.rounds or extent.rounds)
    clips = workloads(clips_of(args.clips), extent, scratch)
    replicas = {"deployment": {"num_replicas": args.replicas}} if args.replicas else {}
    overrides: Sections = {"server": {"max_queued_audio_s": QUEUED_S}, **replicas}
    weights = str(weights_of(config)) if set(args.peers) - {SERVICE} else ""
    way = Start(FASTER_WHISPER, threads=cpus, weights=weights)
    bench = Bench(
        Setup(args.config, args.out, clips, extent), Field(args.peers, overrides, way, way, cpus, weights)
    )
    bench.run()
    return Report(
        origin=replace(made, config=changed(made.config, overrides)),
        versions=versions(),
        recordings={name: described(part) for name, part in clips.items()},
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


def weights_of(config: Config) -> Path:
    """The CTranslate2 folder of the service's model, fetched and converted; all peers can be made from it."""
    weights = fetch(config.model.size, ROOT / config.model.model_dir)
    return ctranslate2_folder(weights, FASTER_WHISPER).resolve()


def described(clips: Sequence[Clip]) -> str:
    longest = max(clips, key=lambda clip: clip.seconds)
    return f"{len(clips)}, {sum(clip.seconds for clip in clips):.0f} s in all, the longest {longest.name}"


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


if __name__ == "__main__":
    command.run(main)
