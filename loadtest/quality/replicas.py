"""A configuration and a recording of minutes in, how much sooner two replicas answer than one out.

The service itself is started, with one model replica and with two, by turns,
so that whatever else the machine does falls on both.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from loadtest.errors import CannotRun
from loadtest.quality.corpus import Recording
from loadtest.quality.rates import rate
from loadtest.quality.report import Row
from loadtest.service import own_service
from loadtest.words import words

ROUNDS = (1, 2, 2, 1)  # replicas
LANGUAGES = {"given": "en", "detected": None}
TIMES_AS_FAST = 1.8
TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Round:
    replicas: int
    language: str  # a key of LANGUAGES
    seconds: float
    text: str


def rows(config: Path, root: Path, recording: Recording) -> Iterator[Row]:
    """Raises CannotRun where the service does not start or answer."""
    found = [one for replicas in ROUNDS for one in rounds(config, root, recording, replicas)]
    for language in LANGUAGES:
        yield from compared([one for one in found if one.language == language], language)


def compared(found: Sequence[Round], language: str) -> Iterator[Row]:
    """The same recording with one replica and with two: how much sooner, and which words differ."""
    one, two = ([r for r in found if r.replicas == n] for n in (1, 2))
    times = [median(r.seconds for r in side) for side in (one, two)]
    each = " and ".join(", ".join(f"{r.seconds:.1f}" for r in side) for side in (one, two))
    yield Row(
        f"times as fast with 2 replicas as with 1, language {language}",
        times[0] / times[1],
        least=TIMES_AS_FAST,
        note=f"seconds: {each}",
        digits=2,
    )
    differ = max(rate([r.text], [one[0].text], None).edits for r in found)
    yield Row(
        f"words that differ between 1 and 2 replicas, language {language}",
        differ,
        most=0,
        note=f"of {len(words(one[0].text))}",
    )


def rounds(config: Path, root: Path, recording: Recording, replicas: int) -> list[Round]:
    """One start of the service: asked once to warm it, then once for each language."""
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder, "config.json"), Path(folder, "service.log")
        file.write_text(json.dumps(changed(config, replicas)), encoding="utf-8")
        with own_service(file, root, log) as url, httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
            ask(client, recording, "en")
            return [Round(replicas, name, *ask(client, recording, code)) for name, code in LANGUAGES.items()]


def ask(client: httpx.Client, recording: Recording, language: str | None) -> tuple[float, str]:
    """Seconds to the answer, and its text."""
    data, fields = recording.path.read_bytes(), {"language": language} if language else {}
    began = time.perf_counter()
    answer = client.post("/transcribe", files={"audio_file": (recording.path.name, data)}, data=fields)
    if answer.status_code != httpx.codes.OK:
        raise CannotRun(
            f"the service answered {recording.name} with {answer.status_code}: {answer.text[:200]}"
        )
    return time.perf_counter() - began, str(answer.json()["text"])


def changed(config: Path, replicas: int) -> dict[str, Any]:
    """The config file with so many replicas of one thread, and nothing else that would take their time."""
    fields: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    deployment = {"num_replicas": replicas, "cpu_per_replica": 1.0}
    fields["deployment"] = {**fields.get("deployment", {}), **deployment}
    fields["server"] = {**fields.get("server", {}), "dashboard": False}
    fields["logging"] = {**fields.get("logging", {}), "file": None}
    return fields
