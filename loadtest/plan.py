"""What a run shall do, as it travels to the process that does it."""

import json
from dataclasses import asdict, dataclass

from loadtest.clips import Clip
from loadtest.shapes import Stage


@dataclass(frozen=True, slots=True)
class Plan:
    protocol: str
    stages: tuple[Stage, ...]
    clips: tuple[Clip, ...]
    max_wer: float  # an answer with a larger share of wrong words is a failure
    seed: int  # of the clips' order and the arrivals
    url: str = ""
    out: str = ""  # the file the run is written to

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        fields = json.loads(text)
        fields["stages"] = tuple(Stage(**s) for s in fields["stages"])
        fields["clips"] = tuple(Clip(**c) for c in fields["clips"])
        return cls(**fields)
