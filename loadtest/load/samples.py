"""Samples of a run: one for each request, the windows in which they count, and the requests still open."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

Outcome = Literal["ok", "wrong", "refused", "error"]  # wrong: answered, with other words than were spoken


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Moments are seconds on the run's clock."""

    started: float  # when it was sent; in an open loop, when it was due
    latency_s: float  # from there to the answer's last byte
    outcome: Outcome
    clip: str
    audio_s: float  # length of the clip
    detail: str = ""  # what was wrong
    retry_after_s: float | None = None  # of a refusal
    first_s: float | None = None  # to the first words of a stream
    decode_s: float | None = None  # these five as the service reports them
    queue_s: float | None = None
    inference_s: float | None = None
    batch_windows: float | None = None  # in the same inference batch, its own included
    batch_s: float | None = None  # seconds of audio in them

    @property
    def ended(self) -> float:
        return self.started + self.latency_s


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the run that is measured at one load."""

    label: str  # unique in the run
    load: float  # users, or arrivals a second in an open loop
    start: float
    end: float
    client_cpu: float  # share of one core this client used: near 1, it measures itself
    client_lag_s: float = 0.0  # the most by which this client was late for what it had to do


@dataclass(frozen=True, slots=True)
class Run:
    windows: tuple[Window, ...]
    samples: tuple[Sample, ...]
    rest_s: float  # median latency of a request that is alone
    left_out: tuple[str, ...]  # clips that the service transcribes wrongly even at rest


class Ledger:
    """The samples taken, and the requests still open, on one clock."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._zero = perf_counter()
        self._open: dict[object, float] = {}  # when they started

    def now(self) -> float:
        return perf_counter() - self._zero

    @contextmanager
    def request(self, started: float) -> Iterator[None]:
        """A request is open while the block runs."""
        key = object()
        self._open[key] = started
        try:
            yield
        finally:
            del self._open[key]

    def still_open(self, before: float) -> bool:
        """Whether a request that started before that moment has no answer yet."""
        return any(started < before for started in self._open.values())
