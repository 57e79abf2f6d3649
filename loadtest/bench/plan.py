"""What is wanted in, the turns of a bench out: who is started when, and asked what. To add a contestant: a row in `turns`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loadtest.bench.samples import Start
from loadtest.bench.workloads import FEW, MIX, ONE_LONG, SHORT, Extent

SERVICE, ONE_REPLICA, FULL_CONTEXT = (
    "whisper_serve",
    "whisper_serve, 1 replica",
    "whisper_serve, full context",
)
FASTER_WHISPER, OPENAI_WHISPER, WHISPER_CPP = "faster-whisper", "openai-whisper", "whisper.cpp"
PEERS = (SERVICE, FASTER_WHISPER, OPENAI_WHISPER, WHISPER_CPP)
CROWD = 16  # callers at which peers are compared

COST = {  # seconds an audio second takes, roughly: the progress bar's first guess
    SERVICE: 0.015,
    ONE_REPLICA: 0.03,
    FULL_CONTEXT: 0.05,
    FASTER_WHISPER: 0.055,
    OPENAI_WHISPER: 0.16,
    WHISPER_CPP: 0.2,
}
START_S = {"service": 20.0}  # and the others:
CHILD_START_S = 4.0


@dataclass(frozen=True, slots=True)
class Job:
    workload: str
    callers: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One start of a contestant, and what it is asked while it runs."""

    peer: str
    start: Start
    jobs: tuple[Job, ...]

    @property
    def start_s(self) -> float:
        return START_S.get(self.start.kind, CHILD_START_S)


@dataclass(frozen=True, slots=True)
class Field:
    """Who takes part, and how each is started."""

    peers: tuple[str, ...]
    overrides: Mapping[str, Mapping[str, Any]]  # of the service's config
    alone: Start  # faster-whisper, for one caller
    together: Start  # and for several
    cpus: int
    weights: str


def candidates(field: Field, extent: Extent) -> list[Start]:
    """The ways to run faster-whisper that are tried: one worker with all threads, one-thread workers."""
    start = Start("faster-whisper", weights=field.weights)
    shapes = [replace(start, workers=1, threads=field.cpus), replace(start, workers=field.cpus, threads=1)]
    shapes = list({(s.workers, s.threads): s for s in shapes}.values())
    return [replace(shape, timestamps=timestamps) for shape in shapes for timestamps in extent.timestamps]


def turns(field: Field, extent: Extent, number: int) -> list[Turn]:
    """The turns of round `number`, from 0; every other round runs backwards."""
    rows = [
        *_service(field, extent, number),
        *_faster_whisper(field, extent),
        Turn(OPENAI_WHISPER, _alone("openai-whisper", field), (Job(FEW, 1),)),
        Turn(WHISPER_CPP, _alone("whisper.cpp", field), (Job(FEW, 1),)),
    ]
    rows = [turn for turn in rows if any(turn.peer.startswith(peer) for peer in field.peers)]
    return rows[::-1] if number % 2 else rows


def _service(field: Field, extent: Extent, number: int) -> list[Turn]:
    """As configured; with one replica; and, once, with full context, which decides words and not luck."""
    deployment = {**field.overrides.get("deployment", {}), "num_replicas": 1}
    model = {**field.overrides.get("model", {}), "context": "full"}
    one = Start("service", {**field.overrides, "deployment": deployment})
    full = Start("service", {**field.overrides, "model": model})
    crowd = (Job(SHORT, CROWD),)
    rows = [Turn(SERVICE, Start("service", field.overrides), _jobs(extent, extent.callers))]
    return [*rows, Turn(ONE_REPLICA, one, crowd), *([Turn(FULL_CONTEXT, full, crowd)] if number == 0 else [])]


def _faster_whisper(field: Field, extent: Extent) -> list[Turn]:
    """One start where one way is best for both one caller and several."""
    if field.alone == field.together:
        return [Turn(FASTER_WHISPER, field.alone, _jobs(extent, extent.callers))]
    alone = tuple(callers for callers in extent.callers if callers == 1)
    several = tuple(callers for callers in extent.callers if callers > 1)
    short = tuple(Job(SHORT, callers) for callers in several)
    return [
        Turn(FASTER_WHISPER, field.alone, (*(Job(SHORT, callers) for callers in alone), Job(ONE_LONG, 1))),
        Turn(FASTER_WHISPER, field.together, (*short, Job(MIX, extent.mix_callers))),
    ]


def _jobs(extent: Extent, callers: Sequence[int]) -> tuple[Job, ...]:
    short = tuple(Job(SHORT, count) for count in callers)
    return (*short, Job(ONE_LONG, 1), Job(MIX, extent.mix_callers))


def _alone(kind: str, field: Field) -> Start:
    return Start(kind, threads=field.cpus, weights=field.weights)
