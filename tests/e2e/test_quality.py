"""What `make quality` measures, in short: the real model behind the Transcriber, in this process."""

import asyncio
import io
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loadtest.common import speech
from loadtest.quality.in_process import config_for, engine_for, over
from loadtest.quality.times import disordered, outside, outside_segment, words_of
from whisper_serve.audio.decode import decode
from whisper_serve.engines import Engine
from whisper_serve.transcription.recording import collect
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import SAMPLE_RATE, WINDOW_S, Options, Samples, Transcript, VadOptions

pytestmark = pytest.mark.anyio

CONFIG = config_for("auto", speech.ROOT / "config.json")
NOBODY = [
    "gen-silence-1s.wav",
    "gen-sine440-10s.m4a",
    "leopard-empty.wav",
    "lk-keyboard-typing.ogg",
    "lena.mp3",
]
LANGUAGES = {"picovoice-cheetah/test_de.wav": "de", "festvox-ru/ru_0673.wav": "ru"}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return engine_for(CONFIG)


@pytest.fixture
def transcriber(engine: Engine) -> Transcriber:
    return Transcriber(CONFIG, over(engine, WINDOW_S))


def shared(name: str) -> Path:
    path = speech.shared(name)
    if path is None:
        pytest.skip("no folder of shared recordings beside the repository")
    return path


async def transcribe(transcriber: Transcriber, path: Path, word_timestamps: bool = False) -> Transcript:
    data = await asyncio.to_thread(path.read_bytes)
    return await transcriber.transcribe(data, Options(word_timestamps=word_timestamps))


async def test_ten_minutes_of_silence_cost_almost_nothing_and_hold_no_words(transcriber: Transcriber) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(600 * SAMPLE_RATE, np.int16), SAMPLE_RATE, format="FLAC")
    began = time.process_time()
    transcript = await transcriber.transcribe(file.getvalue(), Options())
    assert time.process_time() - began < 6  # a hundredth of its length
    assert (transcript.text, transcript.windows, transcript.language) == ("", 0, None)
    assert transcript.duration == pytest.approx(600)


@pytest.mark.parametrize("name", NOBODY)
async def test_no_words_are_invented_where_nobody_speaks(transcriber: Transcriber, name: str) -> None:
    assert (await transcribe(transcriber, shared(f"nonspeech/{name}"))).text == ""


@pytest.mark.parametrize("name", LANGUAGES)
async def test_the_language_of_a_sentence_is_detected(transcriber: Transcriber, name: str) -> None:
    transcript = await transcribe(transcriber, shared(name))
    assert transcript.language == LANGUAGES[name]
    assert transcript.language_probability > 0.9


def as_wav(*sounds: Samples) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(sounds), SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def samples_of(path: Path) -> Samples:
    return decode(path.read_bytes(), 3600, ("*",)).samples


@pytest.mark.parametrize("vad", [None, VadOptions(method="off")], ids=["vad", "no vad"])
async def test_the_first_word_is_there_where_speech_begins_with_the_first_sample(
    transcriber: Transcriber, vad: VadOptions | None
) -> None:
    sound = samples_of(shared("longform/ljspeech-LJ001.m4a"))[round(0.1 * SAMPLE_RATE) : 12 * SAMPLE_RATE]
    transcript = await transcriber.transcribe(as_wav(sound), Options(language="en", vad=vad))
    assert transcript.text.startswith("Printing, in the only sense")
    assert transcript.segments[0].start == 0.0


async def test_with_multilingual_each_part_is_in_its_own_language(transcriber: Transcriber) -> None:
    pause = np.zeros(3 * SAMPLE_RATE, np.float32)
    german = samples_of(shared("picovoice-cheetah/test_de.wav"))
    mixed = as_wav(samples_of(speech.jfk()), pause, german, pause, samples_of(speech.jfk()))
    transcript = await transcriber.transcribe(mixed, Options(multilingual=True))
    assert list(dict.fromkeys(s.language for s in transcript.segments)) == ["en", "de"]
    assert transcript.segments[-1].language == "en"
    assert "Werbung" in transcript.text


async def test_word_times_are_in_order_inside_their_segment_and_the_recording(
    transcriber: Transcriber,
) -> None:
    for clip in speech.clips():
        transcript = await transcribe(transcriber, clip.path, word_timestamps=True)
        assert "".join(word.text for word in words_of(transcript)).strip() == transcript.text
        assert (outside(transcript), outside_segment(transcript), disordered(transcript)) == (0, 0, 0)


async def test_a_minute_streamed_in_steps_has_the_words_of_one_answer(engine: Engine) -> None:
    greedy = replace(CONFIG.quality, temperatures=(0.0,))  # higher temperatures sample at random
    transcriber = Transcriber(CONFIG.model_copy(update={"quality": greedy}), over(engine, WINDOW_S))
    data = await asyncio.to_thread(speech.recording("multilingual.mp3").read_bytes)
    waited = await transcriber.transcribe(data, Options())
    recording = await transcriber.open(data, Options())
    steps = [step async for step in transcriber.steps(recording)]
    streamed = collect(recording, steps)
    assert "".join(s.text for step in steps for s in step.segments).strip() == waited.text
    assert (streamed.language, streamed.dropped) == (waited.language, waited.dropped)
    assert len(waited.text.split()) > 80
