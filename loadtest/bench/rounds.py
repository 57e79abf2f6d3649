"""Rounds of a bench: faster-whisper's ways are tried first, then every round plays its turns."""

from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from loadtest.bench.figures import Line, line_of
from loadtest.bench.plan import CROWD, FASTER_WHISPER, SERVICE, Field, Job, Tried, Turn, candidates, turns
from loadtest.bench.running import running
from loadtest.bench.workloads import FEW, Extent, Workloads, requests
from loadtest.common.clips import Clip
from loadtest.common.errors import CannotRun

WARM_UP = 4  # clips, at most one a caller, before each turn, which are not counted
NEEDED = (SERVICE, FASTER_WHISPER)  # without these there is nothing to compare


@dataclass(frozen=True, slots=True)
class Setup:
    """Where a bench takes place, and with what."""

    config: Path  # the service's
    logs: Path  # a folder
    clips: Workloads
    extent: Extent


class Bench:
    """One bench: its progress bar, its lines, and who had to be left out."""

    def __init__(self, setup: Setup, field: Field) -> None:
        self._setup = setup
        self._field = field
        self.lines: list[Line] = []
        self.tried: list[Tried] = []
        self.left_out: dict[str, str] = {}  # peer -> why
        self._bar: tqdm[None] = tqdm(disable=None, unit=" pieces of work")

    def run(self) -> None:
        """Try faster-whisper's ways, then play all rounds. Raises CannotRun where a needed peer fails."""
        with self._bar:
            if FASTER_WHISPER in self._field.peers:
                self._calibrate()
            for number in range(self._setup.extent.rounds):
                for turn in turns(self._field, self._setup.extent, number):
                    self._play(turn, number)

    def _calibrate(self) -> None:
        """Find faster-whisper's best way for one caller, and for several."""
        jobs, ways = (Job(FEW, 1), Job(FEW, CROWD)), candidates(self._field, self._setup.extent)
        for way in ways:
            rates = [line.requests_per_s for line in self._turn(Turn(FASTER_WHISPER, way, jobs), 0)]
            self.tried.append(Tried(way.workers, way.threads, way.timestamps, *rates))
        alone, _ = max(zip(ways, self.tried, strict=True), key=lambda pair: pair[1].alone_per_s)
        together, _ = max(zip(ways, self.tried, strict=True), key=lambda pair: pair[1].together_per_s)
        self._field = replace(self._field, alone=alone, together=together)

    def _play(self, turn: Turn, number: int) -> None:
        if turn.peer in self.left_out:
            return
        try:
            self.lines += self._turn(turn, number)
        except CannotRun as e:
            if turn.peer in NEEDED:
                raise
            self.left_out[turn.peer] = str(e)

    def _turn(self, turn: Turn, number: int) -> list[Line]:
        setup, lines = self._setup, []
        with running(turn.start, setup.config, setup.logs / f"bench.{turn.start.kind}.log") as peer:
            warm = self._warm_up(turn)
            peer.work(warm, len(warm))
            for job in turn.jobs:
                self._bar.set_description(f"round {number + 1}, {turn.peer}, {job.workload}, {job.callers}")
                measured = peer.measure(requests(setup.clips, job.workload, job.callers), job.callers)
                lines.append(line_of(turn.peer, job, number + 1, measured))
                self._bar.update()
        return lines

    def _warm_up(self, turn: Turn) -> list[Clip]:
        shortest = sorted(self._setup.clips[FEW], key=lambda clip: clip.seconds)
        return shortest[: min(WARM_UP, max(job.callers for job in turn.jobs))]
