"""Turns of a bench: who is started when, and given which work. To add a contestant: a row in `turns`."""

from dataclasses import dataclass, replace

from loadtest.bench.child import Start
from loadtest.bench.workloads import FEW, MIX, ONE_LONG, SHORT, Extent
from loadtest.common.service import Sections, changed

SERVICE = "whisper_serve"
ONE_REPLICA, FULL_CONTEXT = "whisper_serve, 1 replica", "whisper_serve, full context"
FASTER_WHISPER, OPENAI_WHISPER, WHISPER_CPP = "faster-whisper", "openai-whisper", "whisper.cpp"
PEERS = (SERVICE, FASTER_WHISPER, OPENAI_WHISPER, WHISPER_CPP)
CROWD = 16  # callers at which contestants are compared


@dataclass(frozen=True, slots=True)
class Job:
    workload: str
    callers: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One start of a contestant, and its work while it runs."""

    peer: str
    start: Start
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """Who takes part, and how each is started."""

    peers: tuple[str, ...]
    overrides: Sections  # of the service's config
    alone: Start  # faster-whisper, for one caller
    together: Start  # and for several
    cpus: int
    weights: str


@dataclass(frozen=True, slots=True)
class Tried:
    """A way to run faster-whisper, and its rates in the calibration."""

    workers: int
    threads: int
    timestamps: bool
    alone_per_s: float  # requests/s of one caller
    together_per_s: float  # and of several

    @property
    def name(self) -> str:
        stamps = "with" if self.timestamps else "without"
        return f"{self.workers} × {self.threads} threads {stamps} timestamps"


def candidates(field: Field, extent: Extent) -> list[Start]:
    """The ways to run faster-whisper that are tried: one worker with all threads, one-thread workers."""
    shapes = dict.fromkeys(((1, field.cpus), (field.cpus, 1)))
    return [
        Start(FASTER_WHISPER, {}, workers, threads, timestamps, field.weights)
        for workers, threads in shapes
        for timestamps in extent.timestamps
    ]


def turns(field: Field, extent: Extent, number: int) -> list[Turn]:
    """The turns of round `number`, from 0; every other round runs backwards."""
    slow = [Start(kind, threads=field.cpus, weights=field.weights) for kind in (OPENAI_WHISPER, WHISPER_CPP)]
    rows = [
        *_service(field, extent, number),
        *_faster_whisper(field, extent),
        *(Turn(start.kind, start, (Job(FEW, 1),)) for start in slow),
    ]
    rows = [turn for turn in rows if any(turn.peer.startswith(peer) for peer in field.peers)]
    return rows[::-1] if number % 2 else rows


def _service(field: Field, extent: Extent, number: int) -> list[Turn]:
    """As configured; with one replica; and, once, with full context, which decides words and not luck."""
    start, crowd = Start("service", field.overrides), (Job(SHORT, CROWD),)
    one = changed(field.overrides, {"deployment": {"num_replicas": 1}})
    full = changed(field.overrides, {"model": {"context": "full"}})
    rows = [Turn(SERVICE, start, _jobs(extent)), Turn(ONE_REPLICA, replace(start, overrides=one), crowd)]
    return [*rows, Turn(FULL_CONTEXT, replace(start, overrides=full), crowd)] if number == 0 else rows


def _faster_whisper(field: Field, extent: Extent) -> list[Turn]:
    """One start where one way is best for both one caller and several."""
    jobs = _jobs(extent)
    if field.alone == field.together:
        return [Turn(FASTER_WHISPER, field.alone, jobs)]
    return [
        Turn(FASTER_WHISPER, field.alone, tuple(job for job in jobs if job.callers == 1)),
        Turn(FASTER_WHISPER, field.together, tuple(job for job in jobs if job.callers > 1)),
    ]


def _jobs(extent: Extent) -> tuple[Job, ...]:
    return (*(Job(SHORT, n) for n in extent.callers), Job(ONE_LONG, 1), Job(MIX, extent.mix_callers))
