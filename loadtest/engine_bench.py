"""Clips whose words are known in, what each way to hear them costs and gets wrong out. `python -m loadtest.engine_bench`.

The engine alone, in one process on one thread, without Ray and HTTP. The ways
take turns, a group of clips each, so that a busy machine favours none; what
counts is the process's CPU time, read as a ratio. To add a way: a row in WAYS.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.clips import Clip, default_clips, load_clips, mixed
from loadtest.errors import CannotRun
from loadtest.origin import commit, machine
from loadtest.quality.rates import rate
from whisper_serve.audio.decode import decode
from whisper_serve.engines import EngineSettings, load_engine, transcribe
from whisper_serve.errors import StartError
from whisper_serve.types import WINDOW_S, Options, Samples, Window, WindowResult
from whisper_serve.weights.download import fetch

ROOT = Path(__file__).resolve().parents[1]
GROUP = 16  # clips a way hears in its turn
LANGUAGE = "en"

Hear = Callable[[Sequence[Samples]], list[str]]  # clips in, their words out


@dataclass(slots=True)
class Tally:
    """What one way has done."""

    hear: Hear
    cpu_s: float = 0.0
    texts: list[str] = field(default_factory=list)


def load_faster_whisper(weights: Path) -> Hear:
    """As it comes: greedy, without timestamps, one clip at a time."""
    from faster_whisper import WhisperModel

    model = WhisperModel(str(weights), device="cpu", compute_type="int8", cpu_threads=1)

    def hear(clips: Sequence[Samples]) -> list[str]:
        texts = []
        for clip in clips:
            segments, _ = model.transcribe(clip, language=LANGUAGE, beam_size=1, without_timestamps=True)
            texts.append("".join(segment.text for segment in segments))
        return texts

    return hear


def ours(name: str, at_once: int = GROUP, **settings: str) -> Callable[[Path], Hear]:
    """One of our engines, given so many clips at once; it sorts them into batches itself."""

    def load(weights: Path) -> Hear:
        engine = load_engine(name, EngineSettings(weights, **settings))  # type: ignore[arg-type]

        def hear(clips: Sequence[Samples]) -> list[str]:
            windows = [Window(clip, 0.0, Options(language=LANGUAGE)) for clip in clips]
            parts = [windows[i : i + at_once] for i in range(0, len(windows), at_once)]
            return [text_of(outcome) for part in parts for outcome in transcribe(engine, part)]

        return hear

    return load


WAYS: dict[str, Callable[[Path], Hear]] = {
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
    sounds = [decode(Path(clip.path).read_bytes(), WINDOW_S).samples for clip in clips]
    tallies = {name: Tally(WAYS[name](weights)) for name in ways}
    for tally in tallies.values():
        tally.hear(sounds[:1])  # what a first pass sets up is not counted
    for i in range(0, len(sounds), GROUP):
        for tally in tallies.values():
            began = time.process_time()
            tally.texts += tally.hear(sounds[i : i + GROUP])
            tally.cpu_s += time.process_time() - began
    return tallies


def table(tallies: dict[str, Tally], clips: Sequence[Clip]) -> str:
    """Markdown; the ratios are to the first way."""
    seconds = sum(clip.seconds for clip in clips)
    first = next(iter(tallies.values())).cpu_s
    lines = ["| way | WER | words wrong | CPU s per audio s | times faster |", "|---|---|---|---|---|"]
    for name, tally in tallies.items():
        wrong = rate([clip.text for clip in clips], tally.texts, LANGUAGE)
        lines.append(
            f"| {name} | {wrong.share:.2%} | {wrong} | {tally.cpu_s / seconds:.4f} | {first / tally.cpu_s:.2f} |"
        )
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m loadtest.engine_bench", description="Ways to hear, by turns.")
    p.add_argument("--clips", type=Path, help="folder of recordings with a manifest.jsonl (path, transcript)")
    p.add_argument("--count", type=int, default=10_000, help="at most so many of them, evenly over lengths")
    p.add_argument("--model", default="base", help="a Whisper name, or a local path")
    p.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY")
    return p


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    try:
        clips = load_clips(args.clips) if args.clips else default_clips()
        clips = mixed([clip for clip in clips if clip.seconds <= WINDOW_S], "mixed", args.count)
        random.Random(0).shuffle(clips)  # callers do not come by the lengths of their clips
        weights = fetch(args.model, ROOT / "models")
        tallies = compare(args.ways, weights, clips)
    except (CannotRun, StartError) as e:
        print(e, file=sys.stderr)
        return 2
    here = machine()
    print(
        f"{args.model}, {len(clips)} clips, {sum(clip.seconds for clip in clips):.0f} s; commit {commit(ROOT)};"
    )
    print(f"{here.cpu}, {here.cores} cores, one thread used\n\n{table(tallies, clips)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
