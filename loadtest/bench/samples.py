"""The nouns of a bench: what a peer is started with, what it is asked, what one clip gave."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from loadtest.clips import Clip


@dataclass(frozen=True, slots=True)
class Start:
    """A peer, and how it is started."""

    kind: str  # a row of peers.LOADS
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of the service's config file
    workers: int = 1  # passes at once, in a peer that runs in process
    threads: int = 1  # of each
    timestamps: bool = False
    weights: str = ""  # checkpoint or CTranslate2 folder
    url: str = ""  # of a service that runs

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Start":
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Work:
    """Clips to be heard in this order by so many callers, each asking again as soon as it is answered."""

    clips: tuple[Clip, ...]
    callers: int

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Work":
        fields = json.loads(text)
        return cls(tuple(Clip(**c) for c in fields["clips"]), fields["callers"])


@dataclass(frozen=True, slots=True)
class Take:
    """One clip, heard once."""

    audio_s: float
    latency_s: float
    said: str
    heard: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a piece of work."""

    wall_s: float  # from the first question to the last answer
    cpu_s: float  # of the process that asked
