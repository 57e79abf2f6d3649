"""Plan of a run: shapes of load over time, as stages. To add a shape: a row in SHAPES."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.common.clips import Clip
from loadtest.common.errors import CannotRun


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run at one load."""

    label: str
    load: float  # users who each ask again as soon as they are answered; open: arrivals a second
    warmup_s: float
    seconds: float  # measured
    open: bool = False
    # Measured from the first answer on, and the load stays until what began in it is answered.
    settles: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What the driver is given, as JSON."""

    protocol: str
    stages: tuple[Stage, ...]
    clips: tuple[Clip, ...]
    max_wer: float  # an answer with a larger share of wrong words is a failure
    seed: int  # of the clips' order and the arrivals
    url: str
    out: Path  # the file the run is written to


@dataclass(frozen=True, slots=True)
class Shape:
    about: str
    levels: tuple[float, ...]  # where none are given
    open: bool = False
    settles: bool = True  # False: the change itself is measured, by the clock, without warm-up


SHAPES = {
    "ladder": Shape("more users, rung by rung", (4, 8, 16, 32, 64, 128, 192, 256, 512)),
    "step": Shape("few users, then many at once", (4, 64), settles=False),
    "spike": Shape("few users, a crowd, few again", (4, 128, 4), settles=False),
    "soak": Shape("one level for long", (16,)),
    "open": Shape("arrivals at a rate, whether or not those before are answered", (1, 2, 4, 8), open=True),
}


def stages(shape: str, levels: Sequence[float], seconds: float, warmup_s: float) -> tuple[Stage, ...]:
    """The stages of a shape; a level met again is labelled 4 #2.

    Raises CannotRun for no time to measure in, a level that is not above 0, or part of a user.
    """
    if seconds <= 0 or warmup_s < 0:
        raise CannotRun("a stage must be measured for more than 0 s, after a warm-up of 0 s or more")
    row = SHAPES[shape]
    seen: Counter[float] = Counter()
    made = []
    for level in levels or row.levels:
        if level <= 0 or not (row.open or float(level).is_integer()):
            raise CannotRun(f"{level:g} is no {'rate' if row.open else 'number of users'}")
        seen[level] += 1
        label = f"{level:g}" if seen[level] == 1 else f"{level:g} #{seen[level]}"
        made.append(Stage(label, level, warmup_s if row.settles else 0.0, seconds, row.open, row.settles))
    return tuple(made)


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Moments of a Poisson process, in seconds from its start; the same for the same seed."""
    chance = random.Random(seed)
    moment = chance.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += chance.expovariate(rate)
