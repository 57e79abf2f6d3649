"""Simulation of a cluster larger than the one at hand: how long windows wait, by replicas and load.

    python -m loadtest.simulate --speed 200

Windows come at random (Poisson). Each goes to the one with fewer windows of two replicas picked at random, as
the router does where its ingress has as little with both; a replica transcribes what waits as one batch, up to
a bound, and then the next.
"""

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.common import command
from loadtest.common.markdown import row, table

WINDOW_S = (3.0, 30.0)  # of audio, evenly between
MEAN_S = sum(WINDOW_S) / 2


@dataclass(frozen=True, slots=True)
class Model:
    speed: float  # audio seconds a replica transcribes a second, its batches full
    batch_s: float  # seconds of audio in a full batch
    fixed: float  # share of a full batch's time that any batch takes

    def takes_s(self, audio_s: float) -> float:
        return self.batch_s / self.speed * (self.fixed + (1 - self.fixed) * audio_s / self.batch_s)


class Cluster:
    def __init__(self, replicas: int, model: Model, rng: random.Random) -> None:
        self.waiting = [deque[tuple[float, float]]() for _ in range(replicas)]  # (came at, seconds of audio)
        self.running = [0] * replicas  # windows
        self.model, self.rng = model, rng
        self.ends: list[tuple[float, int]] = []  # (when, whose) batches end
        self.waits_s: list[float] = []

    def arrive(self, now: float) -> None:
        pair = self.rng.choices(range(len(self.waiting)), k=2)
        chosen = min(pair, key=lambda i: len(self.waiting[i]) + self.running[i])
        self.waiting[chosen].append((now, self.rng.uniform(*WINDOW_S)))
        if not self.running[chosen]:
            self.start_batch(chosen, now)

    def start_batch(self, number: int, now: float) -> None:
        """Begin a batch with what waits; remember how long each of it will have taken."""
        waiting, batch, audio_s = self.waiting[number], list[float](), 0.0
        while waiting and (not batch or audio_s + waiting[0][1] <= self.model.batch_s):
            came, seconds = waiting.popleft()
            batch.append(came)
            audio_s += seconds
        self.running[number] = len(batch)
        if batch:
            end = now + self.model.takes_s(audio_s)
            self.waits_s += [end - came for came in batch]
            heapq.heappush(self.ends, (end, number))

    def run_until(self, now: float) -> None:
        while self.ends and self.ends[0][0] <= now:
            end, number = heapq.heappop(self.ends)
            self.start_batch(number, end)


def answered_s(replicas: int, load: float, model: Model, windows: int, seed: int = 1) -> tuple[float, float]:
    """The median and the 99th percentile of the time to an answer, at `load` of what all can transcribe."""
    rng = random.Random(seed)
    cluster, now = Cluster(replicas, model, rng), 0.0
    rate = load * replicas * model.speed / MEAN_S  # windows a second
    for _ in range(windows):
        now += rng.expovariate(rate)
        cluster.run_until(now)
        cluster.arrive(now)
    waits = cluster.waits_s[len(cluster.waits_s) // 5 :]  # the first ones found it empty
    p50, p99 = np.percentile(waits, (50, 99))
    return float(p50), float(p99)


def main(argv: Sequence[str]) -> int:
    p = command.parser("loadtest.simulate", "Time to an answer, p50 / p99, by replicas and load.")
    p.add_argument("--speed", type=float, default=40.0, help="audio seconds a replica transcribes a second")
    p.add_argument("--batch", type=float, default=120.0, help="seconds of audio in a full batch")
    p.add_argument("--fixed", type=float, default=0.1, help="share of its time that any batch takes")
    p.add_argument("--replicas", type=command.numbers, default=(1, 10, 100, 1000))
    p.add_argument("--loads", type=command.numbers, default=(0.3, 0.5, 0.7, 0.8, 0.9))
    p.add_argument("--windows", type=int, default=20_000, help="at least, and 100 a replica")
    args = p.parse_args(argv)
    model = Model(args.speed, args.batch, args.fixed)
    print(*table([["replicas", *(f"{load:.0%}" for load in args.loads)]]), sep="\n")
    for replicas in map(int, args.replicas):
        windows = max(args.windows, 100 * replicas)
        times = [answered_s(replicas, load, model, windows) for load in args.loads]
        print(row([f"{replicas}", *(f"{p50:.2f} / {p99:.2f}" for p50, p99 in times)]), flush=True)
    return 0
