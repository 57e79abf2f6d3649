"""First and last words of recordings whose beginning is cut off, with the engine's lead-in and without, by turns.

`python -m loadtest.quality.edges --help`. A word is lost where the text has nothing in its place, and wrong where it
has another word.
"""

import argparse
import asyncio
import io
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile

from loadtest.common import command, markdown
from loadtest.common.clips import Clip
from loadtest.common.errors import CannotRun
from loadtest.common.provenance import Origin, origin
from loadtest.common.speech import SHARED
from loadtest.common.wer import BLANKLESS, normalizer
from loadtest.quality.corpus import LONG, few, load_recordings
from loadtest.quality.in_process import AT_ONCE, config_for, engine_for, over
from whisper_serve.audio.decode import decode
from whisper_serve.config.resolve import Resolved
from whisper_serve.engines.whisper.engine import WhisperEngine
from whisper_serve.engines.whisper.request import LEAD_IN_S, DecodeRequest, with_lead_in
from whisper_serve.transcription.temperature_fallback import Infer
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import SAMPLE_RATE, Options, Samples, Window, WindowResult

CUTS_S = (0.0, 0.1, 0.2, 0.3)
FIRST_SOUND = -1.0  # in place of seconds: all before the first sound is cut off, and speech begins at once
FRAME = SAMPLE_RATE // 100
SOUND = 0.1  # of the loudness of a recording's loud frames: the first sound is no quieter
SOUND_FRAMES = 3
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Ends:
    """What became of a recording's first and last words: equal, delete (lost), substitute (wrong)."""

    first: str
    last: str
    edits: int
    words: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all recordings, cut and transcribed in one way."""

    cut: str
    lead_in_s: float
    recordings: int
    first_lost: int
    first_wrong: int
    last_lost: int
    last_wrong: int
    edits: int
    words: int
    window_s: float  # mean audio of a window, its lead-in included
    cpu_s: float

    def cells(self) -> tuple[str, ...]:
        share = f"{self.edits / self.words:.2%}"
        counts = (self.first_lost, self.first_wrong, self.last_lost, self.last_wrong)
        return (
            self.cut,
            f"{self.lead_in_s:g} s",
            *map(str, counts),
            f"{self.edits} of {self.words}, {share}",
            f"{self.window_s:.3f} s",
            f"{self.cpu_s:.0f} s",
        )


HEAD = (
    "cut off",
    "lead-in",
    "first words lost",
    "wrong",
    "last words lost",
    "wrong",
    "word errors",
    "mean window",
    "CPU",
)


def parser() -> argparse.ArgumentParser:
    about = "First and last words lost where the beginning of a recording is cut off."
    p = command.parser("loadtest.quality.edges", about, "--config", "--out")
    p.add_argument("--speech", type=Path, default=SHARED, help="folder of recordings with a manifest.jsonl")
    p.add_argument("--engine", default="auto", help="as model.engine")
    cuts = f"seconds to cut off; {FIRST_SOUND:g}: all before the first sound"
    p.add_argument("--cuts", type=command.numbers, default=(*CUTS_S, FIRST_SOUND), help=cuts)
    p.add_argument("--lead-ins", type=command.numbers, default=(0.0, LEAD_IN_S), help="seconds of silence")
    p.add_argument("--quick", action="store_true", help="a few recordings of each kind")
    return p


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    made = origin("loadtest.quality.edges", argv, args.config)
    figures: list[Figures] = []
    for one in measure(args):
        print(" | ".join(one.cells()), file=sys.stderr, flush=True)
        figures.append(one)
    texts = {".md": as_markdown(made, figures), ".json": as_json(made, figures)}
    markdown.save(args.out / "edges", texts)
    return 0


def as_markdown(made: Origin, figures: Sequence[Figures]) -> str:
    facts = made.facts | {"Recordings": str(figures[0].recordings)}
    table = markdown.table([HEAD, *(one.cells() for one in figures)])
    return markdown.document("Words at the edges", facts, [table], made.config)


def as_json(made: Origin, figures: Sequence[Figures]) -> str:
    fields: dict[str, Any] = {"origin": asdict(made), "rows": [asdict(one) for one in figures]}
    return markdown.as_json(fields)


def measure(args: argparse.Namespace) -> Iterator[Figures]:
    """Figures for each cut, with each lead-in by turns. Raises CannotRun."""
    config = config_for(args.engine, args.config)
    engine = engine_for(config)
    if not isinstance(engine, WhisperEngine):
        raise CannotRun(f"the engine {engine.name} has no lead-in")
    clips = [
        c
        for c in load_recordings(args.speech)
        if c.text and c.part != LONG and c.language not in BLANKLESS and c.seconds <= LONGEST_S
    ]
    clips = few(clips) if args.quick else clips
    sounds = [decode(c.path.read_bytes(), LONGEST_S, ("*",)).samples for c in clips]
    for cut_s in args.cuts:
        files = [as_wav(cut(samples, cut_s)) for samples in sounds]
        for lead_in_s in args.lead_ins:
            led = WhisperEngine(engine.model, lead_in_s)
            yield asyncio.run(figures_of(config, led, clips, files, cut_s))


async def figures_of(
    config: Resolved, engine: WhisperEngine[Any], clips: Sequence[Clip], files: Sequence[bytes], cut_s: float
) -> Figures:
    shown: list[float] = []
    infer = over(engine, config.limits.max_batch_audio_s)
    transcriber = Transcriber(config, counted(infer, engine.lead_in_s, shown))
    free = asyncio.Semaphore(AT_ONCE)

    async def one(clip: Clip, file: bytes) -> Ends:
        async with free:
            text = (await transcriber.transcribe(file, Options(language=clip.language))).text
        return ends(clip.text, text, clip.language)

    began = time.process_time()
    found = await asyncio.gather(*map(one, clips, files))
    cpu_s = time.process_time() - began
    return Figures(
        cut="to the first sound" if cut_s == FIRST_SOUND else f"{cut_s:g} s",
        lead_in_s=engine.lead_in_s,
        recordings=len(clips),
        first_lost=sum(f.first == "delete" for f in found),
        first_wrong=sum(f.first == "substitute" for f in found),
        last_lost=sum(f.last == "delete" for f in found),
        last_wrong=sum(f.last == "substitute" for f in found),
        edits=sum(f.edits for f in found),
        words=sum(f.words for f in found),
        window_s=float(np.mean(shown)),
        cpu_s=cpu_s,
    )


def counted(infer: Infer, lead_in_s: float, shown: list[float]) -> Infer:
    """The same function; the seconds that the model is shown of each first attempt go to `shown`."""

    async def counting(window: Window) -> WindowResult:
        if window.options.temperature == 0:
            request = DecodeRequest(window.samples, 0.0, window.options, ())
            shown.append(with_lead_in(request, lead_in_s).seconds)
        return await infer(window)

    return counting


def cut(samples: Samples, seconds: float) -> Samples:
    start = first_sound(samples) if seconds == FIRST_SOUND else round(seconds * SAMPLE_RATE)
    return samples[start:]


def first_sound(samples: Samples) -> int:
    """The sample, a hundredth of a second early, where some hundredths begin that are not quiet."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    levels = np.sqrt(np.mean(np.square(frames), axis=1))
    sounding = levels > SOUND * np.percentile(levels, 95)
    runs = np.convolve(sounding, np.ones(SOUND_FRAMES), mode="valid") == SOUND_FRAMES
    return max(0, int(np.argmax(runs)) - 1) * FRAME


def as_wav(samples: Samples) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def ends(reference: str, text: str, language: str | None) -> Ends:
    """By the alignment with the fewest word errors."""
    normal = normalizer(language)
    spoken = normal(reference).split()
    found = jiwer.process_words([" ".join(spoken)], [normal(text).strip()])
    kinds = [
        chunk.type for chunk in found.alignments[0] for _ in range(chunk.ref_start_idx, chunk.ref_end_idx)
    ]
    edits = found.substitutions + found.deletions + found.insertions
    return Ends(kinds[0], kinds[-1], edits, len(spoken))


if __name__ == "__main__":
    command.run(main)
