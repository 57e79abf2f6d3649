"""Locust users that post clips and check the words of the answers: one class per dialect."""

from collections.abc import Iterator
from itertools import cycle
from typing import ClassVar

from locust import FastHttpUser, task
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, ResponseContextManager

from loadtest.common.clips import COUNT, Clip, mixed
from loadtest.common.protocols import PROTOCOLS, Protocol, body_of
from loadtest.common.speech import clips_of
from loadtest.load.answers import MAX_WER, Answer, judged
from loadtest.load.samples import Ledger, Sample

PATIENCE_S = 600.0  # the longest an answer is waited for, as the official SDKs do
PAUSE_S = 1.0  # after an error, or a refusal without a Retry-After


def default_clips() -> Iterator[Clip]:
    """The clips of a run that has no plan; read when the first is asked for."""
    yield from cycle(mixed(clips_of(None), "mixed", COUNT))


class SpeechUser(FastHttpUser):
    """Posts the next clip as soon as the last is answered; after a refusal, waits for its Retry-After."""

    abstract = True
    host = "http://127.0.0.1:8000"
    network_timeout = PATIENCE_S
    connection_timeout = PATIENCE_S
    max_redirects = 0  # a redirect could lead off this machine
    concurrency = 10_000  # connections one user may have: an open loop has one user
    protocol: ClassVar[Protocol]
    ledger: ClassVar[Ledger] = Ledger()
    clips: ClassVar[Iterator[Clip]] = default_clips()  # shared by all users
    max_wer: ClassVar[float] = MAX_WER
    pause_s = 0.0

    def wait_time(self) -> float:
        return self.pause_s

    @task
    def ask_next(self) -> None:
        sample = self.ask(next(self.clips))
        pause_s = PAUSE_S if sample.retry_after_s is None else sample.retry_after_s
        self.pause_s = pause_s if sample.outcome in ("refused", "error") else 0.0

    def ask(self, clip: Clip, due: float | None = None) -> Sample:
        """Post a clip and note the sample; its latency counts from `due`, if that is given."""
        started = self.ledger.now() if due is None else due
        with self.ledger.request(started):
            sample = self._post(clip, started)
            self.ledger.samples.append(sample)
        return sample

    def _post(self, clip: Clip, started: float) -> Sample:
        body = body_of(self.protocol, clip)
        with self.client.post(
            self.protocol.path,
            data=body.data,  # type: ignore[arg-type]  # bytes pass through as they are
            headers={"Content-Type": body.content_type},
            stream=self.protocol.streams,
            catch_response=True,
        ) as response:
            sample = judged(self._answer(response, started), self.protocol, clip, self.max_wer)
            response.request_meta["response_time"] = sample.latency_s * 1000
            if sample.outcome in ("wrong", "error"):
                response.failure(sample.detail)
            else:
                response.request_meta["name"] += " (refused)" if sample.outcome == "refused" else ""
                response.success()
        return sample

    def _answer(self, response: ResponseContextManager, started: float) -> Answer:
        first_s, failure, body = None, "", b""
        try:
            if self.protocol.streams and response.status_code == 200:
                body = response.stream.readline(b"\n")
                first_s = self.ledger.now() - started
            body += response.content or b""
        except FAILURE_EXCEPTIONS as e:
            failure = f"{type(e).__name__}: {e}"
        if response.status_code in (0, 200) and response.request_meta["exception"]:
            failure = repr(response.request_meta["exception"])
        headers = {name.lower(): value for name, value in (response.headers or {}).items()}
        return Answer(
            response.status_code, headers, bytes(body), started, self.ledger.now() - started, first_s, failure
        )


class TranscribeUser(SpeechUser):
    protocol = PROTOCOLS["transcribe"]


class OpenAIUser(SpeechUser):
    protocol = PROTOCOLS["openai"]


class SseUser(SpeechUser):
    protocol = PROTOCOLS["sse"]


class AsrUser(SpeechUser):
    protocol = PROTOCOLS["asr"]
