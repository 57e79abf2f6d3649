"""Two replicas beside one on a recording of minutes: how much sooner they answer, and whether with the same words.

The service itself is started, with one model replica and with two, by turns,
so that whatever else the machine does falls on both.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from loadtest.common.bounds import Row
from loadtest.common.client import ENGLISH, Client
from loadtest.common.clips import Clip
from loadtest.common.service import own_service
from loadtest.common.wer import plain, rate, words

ROUNDS = (1, 2, 2, 1)  # replicas
PROTOCOLS = {"given": ENGLISH, "detected": replace(ENGLISH, form=())}  # by what is done about the language
TIMES_AS_FAST = 1.8


@dataclass(frozen=True, slots=True)
class Round:
    replicas: int
    language: str  # a key of PROTOCOLS
    seconds: float
    text: str


def rows(config: Path, recording: Clip) -> Iterator[Row]:
    """Raises CannotRun where the service does not start or answer."""
    found = [one for replicas in ROUNDS for one in rounds(config, recording, replicas)]
    for language in PROTOCOLS:
        yield from compared([one for one in found if one.language == language], language)


def compared(found: Sequence[Round], language: str) -> Iterator[Row]:
    """The same recording with one replica and with two: how much sooner, and which words differ."""
    one, two = ([r for r in found if r.replicas == n] for n in (1, 2))
    faster = median(r.seconds for r in one) / median(r.seconds for r in two)
    each = " and ".join(", ".join(f"{r.seconds:.1f}" for r in side) for side in (one, two))
    what = f"times as fast with 2 replicas as with 1, language {language}"
    yield Row(what, faster, least=TIMES_AS_FAST, note=f"seconds: {each}", digits=2)
    differ = max(rate([r.text], [one[0].text], plain).edits for r in found)
    what = f"words that differ between 1 and 2 replicas, language {language}"
    yield Row(what, differ, most=0, note=f"of {len(words(one[0].text))}")


def rounds(config: Path, recording: Clip, replicas: int) -> list[Round]:
    """One start of the service: asked once to warm it, then once for each language."""
    overrides: dict[
        str, dict[str, Any]
    ] = {  # replicas of one thread, and nothing else that would take their time
        "deployment": {"num_replicas": replicas, "cpu_per_replica": 1.0},
        "server": {"dashboard": False},
        "logging": {"file": None},
    }
    with (
        tempfile.NamedTemporaryFile() as log,
        own_service(config, Path(log.name), overrides) as service,
    ):
        Client(service.url).ask(recording)
        return [Round(replicas, name, *timed(service.url, name, recording)) for name in PROTOCOLS]


def timed(url: str, language: str, recording: Clip) -> tuple[float, str]:
    """Seconds to the answer, and its text."""
    began = time.perf_counter()
    text = Client(url, PROTOCOLS[language]).ask(recording)
    return time.perf_counter() - began, text
