"""Recordings of several channels, and an `infer` that tells them apart."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from whisper_serve.types import SAMPLE_RATE, Segment, Window, WindowResult, Word


def stereo(seconds: float, *sounds: Callable[[NDArray[Any]], Any]) -> bytes:
    """A WAV with a channel for each function, which says at which seconds it has a tone."""
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = 0.5 * np.sin(np.arange(len(times)) / 8)
    on = [np.broadcast_to(sound(times), times.shape) for sound in sounds]
    out = io.BytesIO()
    soundfile.write(out, (tone * np.stack(on)).T, SAMPLE_RATE, format="WAV")
    return out.getvalue()


async def by_second(window: Window) -> WindowResult:
    """A segment of one word for each second of a window: the channel, and the second."""
    found = []
    for i in range(int(window.seconds)):
        text = f" {window.channel}:{window.start + i:.0f}"
        found.append(Segment(float(i), i + 1.0, text, words=(Word(float(i), i + 1.0, text, 1.0),)))
    return WindowResult(tuple(found), window.options.language or "en", engine="fake")
