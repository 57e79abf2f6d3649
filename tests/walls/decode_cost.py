"""What a decoding process costs beside a thread of this one: CPU milliseconds a clip, by turns in one run.

python -m tests.walls.decode_cost [ROUNDS]
"""

import io
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import soundfile

from whisper_serve.audio.decode import DecodeOptions, decode
from whisper_serve.audio.decode_workers import DecodeWorkers
from whisper_serve.audio.source import Source

SECONDS = 10
CLIPS = (("WAV", 16_000), ("FLAC", 16_000), ("WAV", 44_100), ("FLAC", 48_000))


def clip(kind: str, rate: int) -> bytes:
    """Noise that comes and goes, for FLAC takes no time over a tone."""
    loudness = 0.2 * np.abs(np.sin(np.arange(SECONDS * rate) / rate * 3))
    file = io.BytesIO()
    soundfile.write(
        file, np.random.default_rng(0).standard_normal(len(loudness)) * loudness, rate, format=kind
    )
    return file.getvalue()


def clock_of(pid: int) -> Callable[[], float]:
    """CPU seconds of this process and of another (Linux)."""
    return lambda: time.process_time() + time.clock_gettime(~pid << 3 | 2)


def measure(work: Callable[[], object], clock: Callable[[], float]) -> tuple[float, float]:
    """CPU and wall milliseconds."""
    began, cpu = time.perf_counter(), clock()
    work()
    return (clock() - cpu) * 1e3, (time.perf_counter() - began) * 1e3


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    workers = DecodeWorkers(1)
    began = time.perf_counter()
    workers.start(1)
    print(f"started in {time.perf_counter() - began:.2f} s")
    server = psutil.Process().children()[0]
    (worker,) = server.children()
    clock = clock_of(worker.pid)
    with ThreadPoolExecutor(1) as threads:
        for kind, rate in CLIPS:
            data = clip(kind, rate)
            ways = (lambda d=data: decode(d, 60), lambda d=data: workers.decode(Source(d), DecodeOptions(60)))
            spent = [[measure(threads.submit(way).result, clock) for way in ways] for _ in range(rounds)]
            (here, here_wall), (there, there_wall) = np.median(spent, axis=0)
            print(
                f"{kind} {rate} Hz, {len(data) / 1e3:.0f} kB: thread {here:.2f} ms, process {there:.2f} ms, "
                f"{there - here:+.2f} ms ({there / here:.2f} times); on the clock {here_wall:.2f} and {there_wall:.2f} ms"
            )
    for name, process in (("fork server", server), ("worker", worker)):
        memory = process.memory_full_info()
        print(
            f"{name}: RSS {memory.rss / 1e6:.0f} MB, PSS {memory.pss / 1e6:.0f} MB, own {memory.uss / 1e6:.0f} MB"
        )
    workers.close()


if __name__ == "__main__":
    main()
