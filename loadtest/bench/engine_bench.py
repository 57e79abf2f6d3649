"""Engines alone: the CPU time and the word errors of each way to transcribe. `python -m loadtest.engine_bench`.

In one process on one thread, without Ray and HTTP. The ways take turns, a
group of clips each, so that a busy machine favours none; what counts is the
process's CPU time, read as a ratio. To add a way: a row in WAYS.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faster_whisper import WhisperModel

from loadtest.bench.child import samples_of
from loadtest.bench.tokenizer import with_tokenizer
from loadtest.common import ROOT, command
from loadtest.common.client import LANGUAGE
from loadtest.common.clips import Clip, mixed
from loadtest.common.errors import CannotRun
from loadtest.common.markdown import table
from loadtest.common.provenance import commit, machine
from loadtest.common.speech import clips_of
from loadtest.common.wer import normalizer, rate
from whisper_serve.engines import EngineSettings, load_engine, transcribe
from whisper_serve.engines.whisper.convert import ctranslate2_folder
from whisper_serve.types import WINDOW_S, Options, Samples, Window, WindowResult
from whisper_serve.weights.download import fetch

GROUP = 16  # clips that a way transcribes in its turn

Way = Callable[[Sequence[Samples]], list[str]]  # clips -> their words


@dataclass(slots=True)
class Tally:
    """What one way has done."""

    way: Way
    cpu_s: float = 0.0
    texts: list[str] = field(default_factory=list)


def load_faster_whisper(weights: Path) -> Way:
    """As it comes: greedy, without timestamps, one clip at a time."""
    folder = with_tokenizer(ctranslate2_folder(weights, "faster-whisper"))
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)
    greedy = {"language": LANGUAGE, "beam_size": 1, "without_timestamps": True}
    return lambda clips: ["".join(s.text for s in model.transcribe(clip, **greedy)[0]) for clip in clips]


def ours(name: str, at_once: int = GROUP, **settings: str) -> Callable[[Path], Way]:
    """One of our engines, given so many clips at once; it sorts them into batches itself."""

    def load(weights: Path) -> Way:
        engine = load_engine(name, EngineSettings(weights, **settings))  # type: ignore[arg-type]

        def way(clips: Sequence[Samples]) -> list[str]:
            windows = [Window(clip, 0.0, Options(language=LANGUAGE)) for clip in clips]
            parts = [windows[i : i + at_once] for i in range(0, len(windows), at_once)]
            return [text_of(outcome) for part in parts for outcome in transcribe(engine, part)]

        return way

    return load


WAYS: dict[str, Callable[[Path], Way]] = {
    "faster-whisper": load_faster_whisper,
    "CTranslate2, full context": ours("ctranslate2", context="full"),
    "CTranslate2, adaptive": ours("ctranslate2"),
    "OpenVINO, full context": ours("openvino", context="full"),
    "OpenVINO, adaptive": ours("openvino"),
    "OpenVINO, adaptive, one at a time": ours("openvino", at_once=1),
}


def text_of(outcome: object) -> str:
    if not isinstance(outcome, WindowResult):
        raise CannotRun(f"the engine answered {outcome!r}")
    return "".join(segment.text for segment in outcome.segments)


def compare(ways: Sequence[str], weights: Path, clips: Sequence[Clip]) -> dict[str, Tally]:
    """Let the ways take turns. Raises CannotRun."""
    sounds = [samples_of(clip) for clip in clips]
    tallies = {name: Tally(WAYS[name](weights)) for name in ways}
    for tally in tallies.values():
        tally.way(sounds[:1])  # what a first batch sets up is not counted
    for i in range(0, len(sounds), GROUP):
        for tally in tallies.values():
            began = time.process_time()
            tally.texts += tally.way(sounds[i : i + GROUP])
            tally.cpu_s += time.process_time() - began
    return tallies


def rows(tallies: Mapping[str, Tally], clips: Sequence[Clip]) -> list[list[str]]:
    """The ratios are to the first way."""
    seconds, first = sum(clip.seconds for clip in clips), next(iter(tallies.values())).cpu_s
    found = [["way", "WER", "words wrong", "CPU s per audio s", "times faster"]]
    for name, tally in tallies.items():
        wrong = rate([clip.text for clip in clips], tally.texts, normalizer(LANGUAGE))
        cost = [f"{tally.cpu_s / seconds:.4f}", f"{first / tally.cpu_s:.2f}"]
        found.append([name, f"{wrong.share:.2%}", str(wrong), *cost])
    return found


def main(argv: Sequence[str]) -> int:
    p = command.parser("loadtest.engine_bench", "Ways to transcribe, by turns.", "--clips")
    p.add_argument("--count", type=int, default=10_000, help="at most so many of them, evenly over lengths")
    p.add_argument("--model", default="base", help="a Whisper name, or a local path")
    p.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY")
    args = p.parse_args(argv)
    clips = [clip for clip in clips_of(args.clips) if clip.seconds <= WINDOW_S]
    clips = mixed(clips, "mixed", args.count)
    random.Random(0).shuffle(clips)  # callers do not come by the lengths of their clips
    tallies = compare(args.ways, fetch(args.model, ROOT / "models"), clips)
    seconds, here = sum(clip.seconds for clip in clips), machine()
    print(f"{args.model}, {len(clips)} clips, {seconds:.0f} s; commit {commit(ROOT)};")
    print(f"{here.cpu}, {here.cores} cores, one thread used\n", *table(rows(tallies, clips)), sep="\n")
    return 0
