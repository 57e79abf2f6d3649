"""This checkout's service beside another checkout's, by turns in one run: cost of a request, memory, words.

    python -m loadtest.revisions ../other

Each service is started with its own config.json, on the same weights; this
interpreter runs both. A ratio is this checkout's figure by the other's in the
same round: what else the machine does then falls on both.
"""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from loadtest.bench.child import Start
from loadtest.bench.figures import Measured
from loadtest.bench.running import SERVICE, running
from loadtest.common import ROOT, command
from loadtest.common.clips import Clip, mixed
from loadtest.common.markdown import NOTHING, table
from loadtest.common.processes import MODEL
from loadtest.common.provenance import ENV, commit, machine
from loadtest.common.speech import clips_of

WARM_UP = 2  # requests a caller, before each turn, which are not counted
FIGURES: dict[str, Callable[[Measured], float]] = {
    "CPU ms a request": lambda m: 1000 * sum(m.cpu_s.values()) / len(m.results),
    "in the replicas": lambda m: 1000 * m.cpu_s[MODEL] / len(m.results),
    "in the rest": lambda m: 1000 * (sum(m.cpu_s.values()) - m.cpu_s[MODEL]) / len(m.results),
    "requests/s": lambda m: len(m.results) / m.wall_s,
    "memory, MB (PSS)": lambda m: m.peak_mb,
}


@dataclass(frozen=True, slots=True)
class Round:
    """What both checkouts did in one round."""

    ours: Measured
    theirs: Measured

    @property
    def differing(self) -> set[Path]:
        """The clips whose words are not the same."""
        ours, theirs = ({r.clip.path: r.text for r in side.results} for side in (self.ours, self.theirs))
        return {path for path, text in ours.items() if theirs[path] != text}


def play(root: Path, clips: Sequence[Clip], callers: int, logs: Path) -> Measured:
    """One start of a checkout's service. Raises CannotRun."""
    with running(Start(SERVICE), root / "config.json", logs / "revisions.log", root) as service:
        service.work(clips[: WARM_UP * callers], callers)
        return service.measure(clips, callers)


def rows(rounds: Sequence[Round]) -> list[list[str]]:
    """A row a figure: both sides of each round, and the mean of the rounds' ratios with its standard error."""
    found = [["figure", *(f"round {i}, this and other" for i in range(1, len(rounds) + 1)), "this / other"]]
    for name, figure in FIGURES.items():
        pairs = [(figure(one.ours), figure(one.theirs)) for one in rounds]
        ratios = [ours / theirs for ours, theirs in pairs]
        error = f"{stdev(ratios) / len(ratios) ** 0.5:.4f}" if len(ratios) > 1 else NOTHING
        found.append([name, *(f"{a:.4g} {b:.4g}" for a, b in pairs), f"{fmean(ratios):.4f} ± {error}"])
    differing = [one.differing for one in rounds]
    every = set[Path]().union(*differing)
    return [*found, ["clips whose words differ", *(str(len(one)) for one in differing), str(len(every))]]


def main(argv: Sequence[str]) -> int:
    p = command.parser("loadtest.revisions", "Two checkouts of the service by turns.", "--clips", "--out")
    p.add_argument("other", type=Path, help="folder of the other checkout")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--callers", type=int, default=16)
    p.add_argument("--count", type=int, default=110, help="clips, evenly over their lengths")
    args = p.parse_args(argv)
    os.environ.setdefault(f"{ENV}MODEL__MODEL_DIR", str((ROOT / "models").resolve()))
    args.out.mkdir(parents=True, exist_ok=True)
    clips, other = mixed(clips_of(args.clips), "mixed", args.count), args.other.resolve()
    random.Random(0).shuffle(clips)
    rounds = []
    for number in range(args.rounds):
        order = (ROOT, other) if number % 2 == 0 else (other, ROOT)
        played: Mapping[Path, Measured] = {root: play(root, clips, args.callers, args.out) for root in order}
        rounds.append(Round(played[ROOT], played[other]))
        print(*table(rows(rounds)), "", sep="\n", flush=True)
    print(f"{commit(ROOT)} and {commit(other)}; {len(clips)} clips, {args.callers} callers; {machine()}")
    return 0
