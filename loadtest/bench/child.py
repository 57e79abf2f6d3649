"""How to start a peer, then work, as lines of JSON on stdin; every take and every end as lines on stdout.

A process of its own, so that a peer's CPU time, memory and threads are its own:
`python -m loadtest.bench.child`. For the service it is the client.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from loadtest.bench.peers import LOADS, Ask
from loadtest.bench.samples import Done, Start, Take, Work
from loadtest.clips import Clip
from loadtest.errors import CannotRun
from loadtest.protocols import BadAnswer

READY = "ready"


def closed_loop(ask: Ask, work: Work, tell: Callable[[Take], None]) -> Done:
    """Every clip once; each caller takes the next as soon as it is answered. Raises what `ask` raises."""

    def timed(clip: Clip) -> None:
        began = time.perf_counter()
        heard = ask(clip)
        tell(Take(clip.seconds, time.perf_counter() - began, clip.text, heard))

    began, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(work.callers) as callers:
        answers = [callers.submit(timed, clip) for clip in work.clips]
        try:
            for answer in answers:
                answer.result()
        finally:
            callers.shutdown(cancel_futures=True)
    return Done(time.perf_counter() - began, time.process_time() - used)


def main() -> int:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is not for the reader of our lines
    one_at_a_time = threading.Lock()

    def say(told: dict[str, float | str]) -> None:
        with one_at_a_time:
            print(json.dumps(told), file=out, flush=True)

    try:
        start = Start.from_json(sys.stdin.readline())
        ask = LOADS[start.kind](start)
        say({READY: start.kind})
        for line in sys.stdin:
            say(asdict(closed_loop(ask, Work.from_json(line), lambda take: say(asdict(take)))))
    except (CannotRun, BadAnswer, OSError) as e:
        print(e, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
