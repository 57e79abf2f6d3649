"""Cost of decoding and splitting long recordings: memory of an hour, CPU time of silence.

Each is measured in a process of its own, with the fake engine: the model's memory and time are a replica's.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from loadtest.common.bounds import Row
from loadtest.common.errors import CannotRun
from loadtest.common.processes import own_process
from loadtest.quality.corpus import LONG, NONSPEECH
from loadtest.quality.in_process import create_transcriber
from whisper_serve.audio.decode import decode
from whisper_serve.config.load import Config
from whisper_serve.config.resolve import resolve
from whisper_serve.errors import TranscriptionError
from whisper_serve.host.hardware import this_machine
from whisper_serve.types import SAMPLE_RATE, Options, Samples

HOUR_S = 3600.0
QUICK_S = 600.0
# For decoding and splitting, beside the samples and the upload: no second copy of either fits.
ROOM_MB = 100.0
SILENCE_CPU_S = 6.0  # a hundredth of its length
SILENCE = f"{NONSPEECH}/gen-silence-10min.opus"
STATUS = Path("/proc/self/status")
STEPS = ("open", "transcribe")


@dataclass(frozen=True, slots=True)
class Cost:
    idle_mb: float  # resident before, in 1e6 bytes
    peak_mb: float  # the most resident until the end
    cpu_s: float
    windows: int


def rows(speech: Path, quick: bool) -> Iterator[Row]:
    """Raises CannotRun where the speech is not there, or cannot be transcribed."""
    seconds = QUICK_S if quick else HOUR_S
    samples_mb = seconds * SAMPLE_RATE * 4 / 1e6
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "long.flac")
        soundfile.write(file, stitched(speech, seconds), SAMPLE_RATE)
        upload_mb = file.stat().st_size / 1e6
        for step in STEPS:
            cost = measured(file, step)
            what, peak_mb = f"peak memory of {seconds / 60:.0f} minutes, {step}", cost.peak_mb - cost.idle_mb
            held = f"the samples are {samples_mb:.0f}, the upload {upload_mb:.0f}"
            note = f"above {cost.idle_mb:.0f} MB at rest; {held}; {cost.windows} windows, {cost.cpu_s:.1f} s of CPU"
            yield Row(what, peak_mb, "MB", samples_mb + upload_mb + ROOM_MB, note=note)
    cost = measured(speech / SILENCE, "transcribe")
    how = "decoding and voice activity detection"
    yield Row("CPU time of 10 minutes of silence", cost.cpu_s, "s", SILENCE_CPU_S, note=how, digits=1)
    yield Row("windows in 10 minutes of silence", cost.windows, most=0)


def stitched(speech: Path, seconds: float) -> Samples:
    """The long recordings end to end, as often as it takes; shape (seconds * SAMPLE_RATE,)."""
    files = sorted(Path(speech, LONG).glob("*"))
    if not files:
        raise CannotRun(f"no recordings in {speech / LONG}")
    whole = np.concatenate([decode(f.read_bytes(), HOUR_S, ("*",)).samples for f in files])
    return np.resize(whole, int(seconds * SAMPLE_RATE))


def measured(file: Path, step: str) -> Cost:
    with tempfile.NamedTemporaryFile() as log, own_process(Path(log.name)) as (executor, _):
        try:
            return executor.submit(spend, file, step).result()
        except (TranscriptionError, OSError) as e:
            raise CannotRun(f"{file.name} could not be measured: {e}") from e


def resident_mb(field: str) -> float:
    """A line of this process's status, such as VmHWM, in 1e6 bytes."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:"))


def spend(file: Path, step: str) -> Cost:
    """Decode a file, or transcribe it too, and account for it."""
    return asyncio.run(_spend(file, step))


async def _spend(file: Path, step: str) -> Cost:
    config = Config(model={"engine": "fake"}, server={"max_parallel_windows": 4})
    transcriber = create_transcriber(resolve(config, this_machine()))
    await asyncio.to_thread(transcriber.warm_up)
    idle, began = resident_mb("VmRSS"), time.process_time()
    data, options = await asyncio.to_thread(file.read_bytes), Options(language="en")
    if step == "open":
        windows = len((await transcriber.open(data, options)).windows)
    else:
        windows = (await transcriber.transcribe(data, options)).windows
    return Cost(idle, resident_mb("VmHWM"), time.process_time() - began, windows)
