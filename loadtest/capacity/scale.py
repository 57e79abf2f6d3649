"""Cost of a request in each part of the service but the model, by number of replicas.

    python -m loadtest.scale --replicas 2,10,30

Requests are one recording of 11 s, decoded and split as ever. The engine is the fake one, which takes no time:
what is left is Ray's and ours.
"""

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import repeat, takewhile

import numpy as np

from loadtest.common import RESULTS, ROOT, command
from loadtest.common.client import Client, Loop, closed_loop
from loadtest.common.clips import Clip
from loadtest.common.markdown import row, table
from loadtest.common.processes import CONTROLLER, OTHERS, ROLES, Meter
from loadtest.common.provenance import ENV
from loadtest.common.service import Service, own_service
from loadtest.common.speech import jfk

WARM_UP_S = 2.0  # the first requests meet cold paths
PARTS = (*ROLES.values(), OTHERS)
COLUMNS = ("replicas", "requests/s", "p50 / p99, ms", *(f"{part}, CPU ms" for part in PARTS))
COLUMNS += ("idle, cores", "of it controller", "PSS, GB", "not 200")
SETTINGS = {
    "MODEL__ENGINE": "fake",
    "QUALITY__FILTERS": "[]",
    "LOGGING__FILE": "null",
    "SERVER__DASHBOARD": "false",
    "SERVER__DEDICATED_CPU": "false",
    "DEPLOYMENT__CPU_PER_REPLICA": "0.01",
}


def crowd(service: Service, callers: int, seconds: float) -> Loop:
    """The recording again and again for so long; the texts are the answers' statuses."""
    client, until = Client(service.url), time.monotonic() + seconds
    clips: Iterator[Clip] = takewhile(lambda _: time.monotonic() < until, repeat(Clip(jfk(), "", 11.0)))
    return closed_loop(lambda clip: str(client.post(clip)[0]), clips, callers)


def measure(replicas: int, args: argparse.Namespace) -> list[str]:
    """The cells of a row. Raises CannotRun."""
    more = {"DEPLOYMENT__NUM_REPLICAS": f"{replicas}", "SERVER__NUM_INGRESS": f"{args.ingresses}"}
    settings = SETTINGS | more | {"SERVER__PROXY": args.proxy}
    os.environ |= {f"{ENV}{name}": value for name, value in settings.items()}
    with own_service(ROOT / "config.json", RESULTS / "scale.log") as service:
        crowd(service, args.callers, WARM_UP_S)
        with Meter(service.process) as rest:
            time.sleep(args.seconds / 2)
        with Meter(service.process) as meter:
            loop = crowd(service, args.callers, args.seconds)
    answers = len(loop.results)
    p50, p99 = np.percentile([1000 * result.latency_s for result in loop.results], (50, 99))
    others = Counter(result.text for result in loop.results if result.text != "200")
    idle = {part: 2 * cpu_s / args.seconds for part, cpu_s in rest.cpu_s.items()}
    return [
        f"{replicas}",
        f"{answers / loop.wall_s:.0f}",
        f"{p50:.0f} / {p99:.0f}",
        *(f"{1000 * cpu_s / answers:.1f}" for cpu_s in meter.cpu_s.values()),
        f"{sum(idle.values()):.2f}",
        f"{idle[CONTROLLER]:.3f}",
        f"{meter.peak_mb / 1000:.1f}",
        ", ".join(f"{count} of {status}" for status, count in others.items()) or "0",
    ]


def main(argv: Sequence[str]) -> int:
    p = command.parser("loadtest.scale", "What a request costs, by number of replicas.")
    p.add_argument("--replicas", type=command.numbers, default=(2, 10, 30), help="one number after the other")
    p.add_argument("--ingresses", type=int, default=2)
    p.add_argument("--proxy", choices=["python", "haproxy"], default="python")
    p.add_argument("--callers", type=int, default=16)
    p.add_argument("--seconds", type=float, default=15.0)
    args = p.parse_args(argv)
    print(*table([COLUMNS]), sep="\n")
    for replicas in args.replicas:
        print(row(measure(int(replicas), args)), flush=True)
    return 0
