"""A field and its workloads in, a line for each piece of work out: the calibration, then rounds of turns."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from loadtest.bench.figures import Line, line_of
from loadtest.bench.plan import COST, CROWD, FASTER_WHISPER, SERVICE, Field, Job, Turn, candidates, turns
from loadtest.bench.running import running
from loadtest.bench.samples import Take, Work
from loadtest.bench.workloads import FEW, Extent, work
from loadtest.clips import Clip
from loadtest.errors import CannotRun

BAR = "{desc}: {percentage:3.0f}% |{bar}| {elapsed} taken, {remaining} left"
WARM_UP = 4  # clips, at most one a caller, before each turn, which are not counted
NEEDED = (SERVICE, FASTER_WHISPER)  # without these there is nothing to compare


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


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a bench is held, and with what."""

    config: Path  # the service's
    root: Path  # the repository
    logs: Path  # a folder
    decks: Mapping[str, tuple[Clip, ...]]  # workload -> its clips
    extent: Extent


class Bench:
    """One bench: its progress bar, its lines, and who had to be left out."""

    def __init__(self, ground: Ground, field: Field) -> None:
        self._ground = ground
        self._field = field
        self.lines: list[Line] = []
        self.tried: list[Tried] = []
        self.left_out: dict[str, str] = {}  # peer -> why
        self._trials = calibration(field, ground.extent) if FASTER_WHISPER in field.peers else []
        planned = [
            turn for number in range(ground.extent.rounds) for turn in turns(field, ground.extent, number)
        ]
        total = sum(expected_s(turn, ground.decks) for turn in (*self._trials, *planned))
        self._bar: tqdm[None] = tqdm(total=total, bar_format=BAR, disable=None, file=sys.stderr)

    def hold(self) -> None:
        """Try faster-whisper's ways, then play all rounds. Raises CannotRun where a needed peer fails."""
        try:
            if self._trials:
                self._calibrate()
            for number in range(self._ground.extent.rounds):
                for turn in turns(self._field, self._ground.extent, number):
                    self._play(turn, number)
        finally:
            self._bar.close()

    def _calibrate(self) -> None:
        """Find faster-whisper's best way for one caller, and for several."""
        for turn in self._trials:
            way = turn.start
            rates = [line.requests_per_s for line in self._turn(turn, 0)]
            self.tried.append(Tried(way.workers, way.threads, way.timestamps, *rates))
        ways = [turn.start for turn in self._trials]
        alone = ways[fastest([tried.alone_per_s for tried in self.tried])]
        together = ways[fastest([tried.together_per_s for tried in self.tried])]
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
        ground = self._ground
        self._bar.set_description(f"round {number + 1}, {turn.peer}")
        with running(
            turn.start, ground.config, ground.root, ground.logs / f"bench.{turn.start.kind}.log"
        ) as peer:
            self._bar.update(turn.start_s)
            peer.hear(self._warm_up(turn), lambda take: None)
            lines = []
            for job in turn.jobs:
                self._bar.set_description(
                    f"round {number + 1}, {turn.peer}, {job.workload}, {job.callers} callers"
                )
                measured = peer.hear(work(ground.decks, job.workload, job.callers), self._tick(turn.peer))
                lines.append(line_of(turn.peer, job, number + 1, measured))
            return lines

    def _warm_up(self, turn: Turn) -> Work:
        count = min(WARM_UP, max(job.callers for job in turn.jobs))
        short = sorted(self._ground.decks[FEW], key=lambda clip: clip.seconds)[:count]
        return Work(tuple(short), count)

    def _tick(self, peer: str) -> Callable[[Take], None]:
        def tick(take: Take) -> None:
            self._bar.update(take.audio_s * COST[peer])

        return tick


def calibration(field: Field, extent: Extent) -> list[Turn]:
    jobs = (Job(FEW, 1), Job(FEW, CROWD))
    return [Turn(FASTER_WHISPER, way, jobs) for way in candidates(field, extent)]


def fastest(rates: Sequence[float]) -> int:
    return max(range(len(rates)), key=lambda place: rates[place])


def expected_s(turn: Turn, decks: Mapping[str, Sequence[Clip]]) -> float:
    """Seconds a turn may take, roughly."""
    heard = [clip for job in turn.jobs for clip in work(decks, job.workload, job.callers).clips]
    return turn.start_s + COST[turn.peer] * sum(clip.seconds for clip in heard)
