"""Closed loop of callers: each asks for the next clip as soon as its last is answered, over HTTP or in process."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from urllib.parse import urlsplit

from loadtest.common.clips import Clip
from loadtest.common.errors import CannotRun
from loadtest.common.protocols import PROTOCOLS, Protocol, body_of

Ask = Callable[[Clip], str]  # a clip -> its words; blocking, called from several threads at once

LANGUAGE = "en"
PATIENCE_S = 900.0
ENGLISH = replace(PROTOCOLS["transcribe"], form=(("language", LANGUAGE),))


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one clip."""

    clip: Clip
    latency_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Loop:
    """What a closed loop gave."""

    results: tuple[Result, ...]
    wall_s: float  # from the first request to the last answer
    cpu_s: float  # of this process


def closed_loop(ask: Ask, clips: Iterable[Clip], callers: int) -> Loop:
    """Ask for every clip once, so many at a time. Raises what `ask` raises, after the answers under way."""
    rest, lock, results = iter(clips), threading.Lock(), list[Result]()
    stopped = threading.Event()

    def call() -> None:
        while not stopped.is_set():
            with lock:
                clip = next(rest, None)
            if clip is None:
                return
            began = time.perf_counter()
            text = ask(clip)
            results.append(Result(clip, time.perf_counter() - began, text))

    began, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(callers) as threads:
        calls = [threads.submit(call) for _ in range(callers)]
        wait(calls, return_when=FIRST_EXCEPTION)
        stopped.set()  # all have ended by now, or one has failed
    for done in calls:
        done.result()
    return Loop(tuple(results), time.perf_counter() - began, time.process_time() - used)


class Client:
    """Posts clips to a service, one connection a thread."""

    def __init__(self, url: str, protocol: Protocol = ENGLISH) -> None:
        self._host = urlsplit(url).netloc
        self._protocol = protocol
        self._own = threading.local()

    def post(self, clip: Clip) -> tuple[int, bytes]:
        """-> status, body. Raises OSError."""
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection(self._host, timeout=PATIENCE_S)
        connection: HTTPConnection = self._own.connection
        body = body_of(self._protocol, clip)
        connection.request("POST", self._protocol.path, body.data, {"Content-Type": body.content_type})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def ask(self, clip: Clip) -> str:
        """The words of a clip. Raises CannotRun for any other answer."""
        status, body = self.post(clip)
        if status != 200:
            raise CannotRun(f"the service answered {clip.name} with {status}: {body[:200]!r}")
        return self._protocol.read(body)
