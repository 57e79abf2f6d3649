"""What runs in a contestant's own process: it is loaded once, and given clips by a closed loop of callers.

For the service this process is the client.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from loadtest.common.client import Ask, Client, Loop, closed_loop
from loadtest.common.clips import Clip
from loadtest.common.service import Sections
from whisper_serve.audio.decode import decode
from whisper_serve.types import Samples

MAX_S = 3600.0  # of a recording


@dataclass(frozen=True, slots=True)
class Start:
    """How a contestant is started."""

    kind: str  # a row of running.LOADS
    overrides: Sections = field(default_factory=dict, hash=False)  # of the service's config file
    workers: int = 1  # calls at once, in a peer that runs in process
    threads: int = 1  # of each
    timestamps: bool = False
    weights: str = ""  # CTranslate2 folder
    url: str = ""  # of a service that runs


Load = Callable[[Start], Ask]


@cache
def loaded(load: Load, start: Start) -> Ask:
    return load(start)


def work(load: Load, start: Start, clips: Sequence[Clip], callers: int) -> Loop:
    """Raises what `load` and the callers raise."""
    return closed_loop(loaded(load, start), clips, callers)


def load_service(start: Start) -> Ask:
    return Client(start.url).ask


def samples_of(clip: Clip) -> Samples:
    return decode(clip.path.read_bytes(), MAX_S).samples
