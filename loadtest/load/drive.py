"""Driver of a load test: locust, headless, in a process of its own; the plan as JSON on stdin, the run to a file.

Locust patches the standard library for gevent when it is imported; that must
not reach the process that starts a service and writes the report.
"""

import logging
import random
import sys
from collections.abc import Callable, Sequence
from itertools import cycle
from statistics import median
from time import process_time

import gevent
from locust.env import Environment
from locust.runners import LocalRunner
from pydantic import TypeAdapter
from tqdm import tqdm

from loadtest.common.command import run
from loadtest.common.errors import CannotRun
from loadtest.common.protocols import PROTOCOLS
from loadtest.load.samples import Ledger, Run, Window
from loadtest.load.shapes import Plan, Stage, arrivals
from loadtest.load.users import PATIENCE_S, SpeechUser

TICK_S = 0.1
BAR = "{desc}{percentage:3.0f}% |{bar}| {elapsed} taken, {remaining} left"
MOST_LEFT_OUT = 0.25  # share of the clips that may be transcribed wrongly at rest


class Drive:
    """One run: its users, its clock and its progress bar."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ledger = SpeechUser.ledger = Ledger()
        SpeechUser.max_wer = plan.max_wer
        users = next(c for c in SpeechUser.__subclasses__() if c.protocol is PROTOCOLS[plan.protocol])
        self._environment = Environment(user_classes=[users], host=plan.url, stop_timeout=PATIENCE_S)
        users.host = plan.url
        self._runner: LocalRunner = self._environment.create_local_runner()
        self._user: SpeechUser = users(self._environment)  # asks for the rehearsal and the open loop
        self._late_s = 0.0  # the most by which a tick of the window came late
        planned = sum(s.warmup_s + s.seconds for s in plan.stages)
        self._bar = tqdm(total=round(planned, 1), disable=None, bar_format=BAR)

    def run(self) -> Run:
        """Rehearse, hold every stage, wait for the last answers."""
        try:
            rest_s, left_out = self._rehearse()
            self._ledger.samples.clear()
            self._bar.reset()
            windows = tuple(self._hold(stage) for stage in self._plan.stages)
            self._until(lambda: not self._ledger.still_open(windows[-1].end))
            return Run(windows, tuple(self._ledger.samples), rest_s, left_out)
        finally:
            self._bar.close()
            self._environment.stop_timeout = 0.0
            self._runner.quit()

    def _rehearse(self) -> tuple[float, tuple[str, ...]]:
        """Ask for every clip once, alone; keep those that come out right. -> median latency, names of the others."""
        samples = []
        for number, clip in enumerate(self._plan.clips, 1):
            self._bar.set_description(f"at rest, clip {number} of {len(self._plan.clips)}")
            samples.append(self._user.ask(clip))
        broken = next((s for s in samples if s.outcome in ("refused", "error")), None)
        if broken:
            raise CannotRun(f"at rest the service answers {broken.outcome}: {broken.detail}")
        left_out = tuple(s.clip for s in samples if s.outcome == "wrong")
        if len(left_out) > MOST_LEFT_OUT * len(samples):
            worst = next(s for s in samples if s.outcome == "wrong")
            raise CannotRun(f"at rest {len(left_out)} of {len(samples)} clips come out wrong; {worst.detail}")
        clips = [clip for clip in self._plan.clips if clip.name not in left_out]
        random.Random(self._plan.seed).shuffle(clips)
        SpeechUser.clips = cycle(clips)
        return median(s.latency_s for s in samples), left_out

    def _hold(self, stage: Stage) -> Window:
        """Bring on the load of a stage, all at once, and measure it."""
        self._bar.set_description(f"{stage.label} {'arrivals/s' if stage.open else 'users'}")
        known = len(self._ledger.samples)
        if stage.open:
            gevent.spawn(self._arrive, stage, self._ledger.now())
        else:
            self._runner.start(int(stage.load), spawn_rate=stage.load)
        self._sleep(stage.warmup_s)
        if stage.settles and not stage.open:
            self._until(lambda: len(self._ledger.samples) > known)
        self._late_s = 0.0
        start, used = self._ledger.now(), process_time()
        self._sleep(stage.seconds)
        end, used, late_s = self._ledger.now(), process_time() - used, self._late_s
        if stage.settles:
            self._until(lambda: not self._ledger.still_open(end))
        return Window(stage.label, stage.load, start, end, used / (end - start), late_s)

    def _arrive(self, stage: Stage, start: float) -> None:
        """Send each request at its moment, whatever became of the ones before."""
        for moment in arrivals(stage.load, stage.warmup_s + stage.seconds, self._plan.seed):
            due = start + moment
            gevent.sleep(max(0.0, due - self._ledger.now()))
            gevent.spawn(self._user.ask, next(SpeechUser.clips), due)

    def _sleep(self, seconds: float) -> None:
        end = self._ledger.now() + seconds
        while (left := end - self._ledger.now()) > 0:
            self._tick(min(TICK_S, left))

    def _until(self, true: Callable[[], bool]) -> None:
        """Wait, in time the plan did not know of."""
        while not true():
            if self._bar.total:
                self._bar.total += TICK_S
            self._tick(TICK_S)

    def _tick(self, seconds: float) -> None:
        due = self._ledger.now() + seconds
        gevent.sleep(seconds)
        self._late_s = max(self._late_s, self._ledger.now() - due)
        self._bar.update(seconds)


def main(argv: Sequence[str]) -> int:
    logging.getLogger("locust").setLevel(logging.ERROR)  # it warns of users who come all at once
    plan = TypeAdapter(Plan).validate_json(sys.stdin.read())
    plan.out.write_bytes(TypeAdapter(Run).dump_json(Drive(plan).run()))
    return 0


if __name__ == "__main__":
    run(main)
