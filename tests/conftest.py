import gc
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from tests.support.misbehaving_engine import MisbehavingEngine
from whisper_serve.api import create_api
from whisper_serve.api.deps import Service
from whisper_serve.config.load import Config
from whisper_serve.config.resolve import Resolved, resolve
from whisper_serve.engines import EngineSettings, transcribe
from whisper_serve.errors import TranscriptionError
from whisper_serve.host.hardware import Machine
from whisper_serve.transcription.temperature_fallback import Infer
from whisper_serve.transcription.transcriber import Transcriber
from whisper_serve.types import SAMPLE_RATE, Window, WindowResult


def wav(seconds: float, rate: int = SAMPLE_RATE, level: float = 0.5) -> bytes:
    """A tone, as a WAV file."""
    out = io.BytesIO()
    soundfile.write(out, level * np.sin(np.arange(int(seconds * rate)) / 8), rate, format="WAV")
    return out.getvalue()


def fake_config(**sections: Any) -> Resolved:
    """Fake engine, every sound counted as speech, no filters; sections given replace these."""
    defaults: dict[str, Any] = {
        "model": {"engine": "fake"},
        "vad": {"method": "off"},
        "quality": {"filters": []},
        "logging": {"file": None},
    }
    return resolve(Config(**(defaults | sections)), Machine(cpus=2, gpus=0))


async def fake_infer(window: Window) -> WindowResult:
    outcome = transcribe(MisbehavingEngine(EngineSettings(None)), [window])[0]
    if isinstance(outcome, TranscriptionError):
        raise outcome
    return outcome


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def config() -> Resolved:
    return fake_config()


@asynccontextmanager
async def served(config: Resolved, infer: Infer) -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP side over ASGI, with `infer` behind it."""

    async def ready() -> bool:
        return True

    api = create_api(Service(config, Transcriber(config, infer), ready))
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
async def client(config: Resolved) -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP side over ASGI, with the fake engine behind it."""
    async with served(config, fake_infer) as client:
        yield client


gc.disable()  # while modules are imported: torch's millions of objects would be visited again and again


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
