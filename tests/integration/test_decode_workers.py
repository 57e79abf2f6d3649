"""Worker processes that decode, as they are killed, stopped and kept small. Each test has a pool of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.conftest import wav
from tests.support.hostile_audio import flac_with_comments, matroska_with_private, mp4_with_times
from tests.support.service import ROOT, wait_until
from whisper_serve.audio.decode import DecodeOptions
from whisper_serve.audio.decode_limits import DecodeLimits
from whisper_serve.audio.decode_workers import Cancellation, DecodeWorkers
from whisper_serve.audio.source import Source
from whisper_serve.errors import BadAudio, TimedOut

PATIENT = DecodeLimits(cpu_s=60)


@pytest.fixture
def lost() -> list[str]:
    return []


@contextmanager
def pool(lost: list[str], limits: DecodeLimits = PATIENT) -> Iterator[tuple[DecodeWorkers, psutil.Process]]:
    """One worker, and its process."""
    workers = DecodeWorkers(1, limits, lost.append)
    workers.start(1)
    try:
        (server,) = psutil.Process().children()
        (process,) = server.children()
        yield workers, process
    finally:
        workers.close()


def is_well(workers: DecodeWorkers) -> bool:
    return workers.decode(Source(wav(1)), DecodeOptions(2))[0].seconds == 1


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not limit it")
@pytest.mark.parametrize(
    "data", [matroska_with_private(100_000_000), mp4_with_times()], ids=["matroska", "mp4"]
)
def test_a_worker_keeps_within_its_memory(lost: list[str], data: bytes) -> None:
    with pool(lost, DecodeLimits(cpu_s=60, memory_mb=32, memory_per_byte=0)) as (workers, process):
        before, peaks = process.memory_info(), [0]
        with ThreadPoolExecutor(1) as threads:
            busy = threads.submit(workers.decode, Source(data), DecodeOptions(3600))
            while not busy.done():
                with suppress(psutil.NoSuchProcess):
                    now = process.memory_info()
                    peaks.append(now.rss - now.shared - before.rss + before.shared)
        assert isinstance(busy.exception(), BadAudio)
        assert is_well(workers)
    assert max(peaks) < 34e6


def test_a_decoder_that_crashes_costs_one_recording(lost: list[str]) -> None:
    with pool(lost) as (workers, process), ThreadPoolExecutor(1) as threads:
        busy = threads.submit(workers.decode, Source(flac_with_comments()), DecodeOptions(60))
        wait_until(lambda: process.cpu_times().user > 0.03)
        process.kill()
        with pytest.raises(BadAudio, match="the decoder crashed on it"):
            busy.result(30)
        assert is_well(workers)
    assert lost == ["crash"]


def test_a_worker_whose_caller_left_is_free_at_once(lost: list[str]) -> None:
    with pool(lost) as (workers, process), ThreadPoolExecutor(1) as threads:
        caller = Cancellation()
        busy = threads.submit(workers.decode, Source(flac_with_comments()), DecodeOptions(60), caller)
        wait_until(lambda: process.cpu_times().user > 0.03)
        caller.cancel()
        with pytest.raises(CancelledError):
            busy.result(30)
        assert not process.is_running()
        assert is_well(workers)
    assert lost == ["left"]


def test_a_worker_that_is_stopped_is_given_up(lost: list[str]) -> None:
    with pool(lost, DecodeLimits(cpu_s=0.1, slowdown=1)) as (workers, process):
        process.suspend()
        with pytest.raises(TimedOut, match=r"^decoding took more than"):
            workers.decode(Source(wav(1)), DecodeOptions(2))
    assert lost == ["clock"]


def test_a_fork_server_that_died_is_started_again(lost: list[str]) -> None:
    with pool(lost) as (workers, process):
        psutil.Process(process.ppid()).kill()
        wait_until(lambda: ended(process))
        assert is_well(workers)
    assert lost == []


def test_the_workers_of_a_killed_process_end_even_while_they_decode() -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    started = subprocess.Popen([sys.executable, __file__], env=env, stdout=subprocess.PIPE)
    assert started.stdout
    with started:
        (server,) = [psutil.Process(int(started.stdout.readline()))]
        processes = [server, *server.children()]
        wait_until(lambda: sum(p.cpu_times().user > 0.03 for p in processes[1:]) == 1)
        started.kill()
        wait_until(lambda: all(map(ended, processes)))
    assert len(processes) == 3


def decode_for_ever() -> None:
    workers = DecodeWorkers(2, PATIENT)
    workers.start(2)
    print(psutil.Process().children()[0].pid, flush=True)
    workers.decode(Source(flac_with_comments()), DecodeOptions(60))


if __name__ == "__main__":
    decode_for_ever()
