import io
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from tests.conftest import wav
from tests.support.hostile_audio import flac_with_comments
from tests.support.service import wait_until
from whisper_serve.audio.decode import DecodeOptions, decode, decode_channels
from whisper_serve.audio.decode_limits import DecodeLimits
from whisper_serve.audio.decode_workers import Cancellation, DecodeWorkers
from whisper_serve.audio.source import Source
from whisper_serve.errors import BadAudio, BadRequest, TooLarge

LIMITS = DecodeLimits(cpu_s=0.1, memory_mb=24, memory_per_byte=0)
LOST: list[str] = []


@pytest.fixture(scope="module")
def workers() -> Iterator[DecodeWorkers]:
    pool = DecodeWorkers(1, LIMITS, LOST.append)
    pool.start(1)
    yield pool
    pool.close()


@pytest.fixture
def lost() -> list[str]:
    LOST.clear()
    return LOST


def worker(of: psutil.Process | None = None) -> psutil.Process:
    """The only worker of a pool of this process, by its fork server; of the oldest pool."""
    (process,) = (of or psutil.Process().children()[0]).children()
    return process


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def is_well(workers: DecodeWorkers) -> bool:
    return workers.decode(Source(wav(1)), DecodeOptions(2))[0].seconds == 1


@pytest.mark.parametrize("seconds", [0.01, 1, 30, 75])
def test_a_worker_decodes_what_this_process_would(workers: DecodeWorkers, seconds: float) -> None:
    data = wav(seconds)
    np.testing.assert_array_equal(
        workers.decode(Source(data), DecodeOptions(80))[0].samples, decode(data, 80).samples
    )


def test_a_worker_decodes_each_channel(workers: DecodeWorkers) -> None:
    file, times = io.BytesIO(), np.arange(37 * 16_000)
    soundfile.write(file, np.sin(times[:, None] / [8, 9, 10]) / 2, 16_000, format="FLAC")
    options = DecodeOptions(120, channels="separate")
    channels = workers.decode(Source(file.getvalue()), options)
    np.testing.assert_array_equal(
        [channel.samples for channel in channels],
        [channel.samples for channel in decode_channels(file.getvalue(), options)],
    )
    assert [channel.seconds for channel in channels] == [37, 37, 37]
    with pytest.raises(BadRequest, match="takes at most 2"):
        workers.decode(Source(file.getvalue()), replace(options, max_channels=2))
    with pytest.raises(TooLarge, match="in 3 channels"):
        workers.decode(Source(file.getvalue()), replace(options, max_seconds=110))
    assert is_well(workers)


def test_no_decoding_process_has_threads(workers: DecodeWorkers) -> None:
    """A process that has some cannot be forked safely."""
    assert is_well(workers)
    assert [process.num_threads() for process in psutil.Process().children(recursive=True)] == [1, 1]


def test_a_file_is_decoded_where_it_lies(workers: DecodeWorkers, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(wav(2))
    with path.open("rb") as file:
        for _ in range(2):
            assert workers.decode(Source(file), DecodeOptions(3))[0].seconds == 2


def test_a_worker_refuses_with_the_words_of_the_decoder(workers: DecodeWorkers, lost: list[str]) -> None:
    with pytest.raises(TooLarge, match=r"^more than 1 s of audio; the limit is 1 s$"):
        workers.decode(Source(wav(2)), DecodeOptions(1))
    with pytest.raises(TooLarge):
        workers.decode(Source(wav(100)), DecodeOptions(70))
    with pytest.raises(BadAudio, match="no audio or video"):
        workers.decode(Source(b"no recording"), DecodeOptions(1))
    with pytest.raises(BadAudio, match=r"^the file is empty$"):
        workers.decode(Source(b""), DecodeOptions(1))
    with pytest.raises(BadAudio, match=r"this server takes \.mp3$"):
        workers.decode(Source(wav(1)), DecodeOptions(1, (".mp3",)))
    assert is_well(workers)
    assert lost == []


def test_a_file_that_costs_too_much_cpu_time_is_cut_off(workers: DecodeWorkers, lost: list[str]) -> None:
    with pytest.raises(BadAudio, match=r"it takes more than 0\.1 s of CPU time"):
        workers.decode(Source(flac_with_comments()), DecodeOptions(60))
    assert lost == ["cpu"]
    assert is_well(workers)


def test_cpu_time_is_counted_for_each_recording_anew(workers: DecodeWorkers) -> None:
    recording, process = Source(wav(60)), worker()
    while process.cpu_times().user < 1.5 * LIMITS.cpu_s:
        workers.decode(recording, DecodeOptions(60))
    assert worker() == process


def test_nothing_is_decoded_for_a_caller_who_left_before(workers: DecodeWorkers, lost: list[str]) -> None:
    caller = Cancellation()
    caller.cancel()
    with pytest.raises(CancelledError):
        workers.decode(Source(wav(1)), DecodeOptions(2), caller)
    assert lost == []


def test_a_worker_that_died_while_idle_costs_nothing(workers: DecodeWorkers, lost: list[str]) -> None:
    idle = worker()
    idle.kill()
    wait_until(lambda: ended(idle))
    assert is_well(workers)
    assert lost == []


def test_a_longer_and_a_larger_recording_may_take_more() -> None:
    limits = DecodeLimits(
        cpu_s=1, cpu_s_per_mb=2, cpu_s_per_audio_s=3, slowdown=4, memory_mb=5, memory_per_byte=6
    )
    assert limits.cpu(10_000_000) == 21
    assert limits.cpu(10_000_000, 100) == 321
    assert limits.clock(10_000_000, 100) == 4 * 321
    assert limits.memory(10_000_000) == 65_000_000
