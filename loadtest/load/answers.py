"""Verdict on an answer: which of ok, wrong, refused and error it is, and the sample that it makes."""

from collections.abc import Mapping
from dataclasses import dataclass

from loadtest.common.clips import Clip
from loadtest.common.protocols import BadAnswer, Protocol
from loadtest.common.wer import text_wer
from loadtest.load.samples import Outcome, Sample

REFUSED = 429
MAX_WER = 0.35  # short clips and small models miss a word or two


@dataclass(frozen=True, slots=True)
class Answer:
    status: int  # 0: none came
    headers: Mapping[str, str]  # lower-case names
    body: bytes
    started: float  # seconds on the run's clock
    latency_s: float
    first_s: float | None = None
    failure: str = ""  # what broke on the way


def judged(answer: Answer, protocol: Protocol, clip: Clip, max_wer: float) -> Sample:
    """The sample an answer makes; its words are wrong if more than max_wer of the clip's differ."""
    outcome, detail = _verdict(answer, protocol, clip, max_wer)
    return Sample(
        started=answer.started,
        latency_s=answer.latency_s,
        outcome=outcome,
        clip=clip.name,
        audio_s=clip.seconds,
        detail=detail,
        retry_after_s=_number(answer, "retry-after") if outcome == "refused" else None,
        first_s=answer.first_s,
        decode_s=_seconds(answer, "x-decode-ms"),
        queue_s=_seconds(answer, "x-queue-ms"),
        inference_s=_seconds(answer, "x-inference-ms"),
        batch_windows=_number(answer, "x-batch-windows"),
        batch_s=_number(answer, "x-batch-seconds"),
    )


def _verdict(answer: Answer, protocol: Protocol, clip: Clip, max_wer: float) -> tuple[Outcome, str]:
    if answer.status == REFUSED:
        return "refused", ""
    if answer.status != 200 or answer.failure:
        return "error", answer.failure or f"{answer.status}: {answer.body[:160].decode('utf-8', 'replace')}"
    try:
        text = protocol.read(answer.body)
    except BadAnswer as e:
        return "error", str(e)
    rate = text_wer(clip.text, text)
    if rate > max_wer:
        return "wrong", f"{rate:.0%} of the words of {clip.name} differ: {text[:160]!r}"
    return "ok", ""


def _number(answer: Answer, header: str) -> float | None:
    try:
        return float(answer.headers[header])
    except (KeyError, ValueError):
        return None


def _seconds(answer: Answer, header: str) -> float | None:
    milliseconds = _number(answer, header)
    return None if milliseconds is None else milliseconds / 1000
