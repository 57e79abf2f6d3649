"""A window and what hears it in, what it holds out: heard again, warmer, while its text looks wrong.

openai-whisper's temperature fallback, by window: a try goes into the replicas' queue like any other window, so
that no batch waits for it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf
from statistics import fmean

from whisper_serve.config.model import Quality
from whisper_serve.types import Options, Window, WindowResult

Infer = Callable[[Window], Awaitable[WindowResult]]


async def hear(window: Window, infer: Infer, quality: Quality) -> WindowResult:
    """The first try that looks right; where none does, the likeliest that does not loop (as in faster-whisper).

    It was heard for as long as all of them, and is as sure of its language as the first.
    """
    tries = [await infer(window)]
    for temperature in ladder(window.options, quality):
        if not looks_wrong(tries[-1], quality):
            break
        options = replace(window.options, temperature=temperature, language=tries[0].language)
        tries.append(await infer(replace(window, options=options)))
    if looks_wrong(tries[-1], quality):
        taken = max(tries, key=lambda heard: (not loops(heard, quality), likelihood(heard)))
    else:
        taken = tries[-1]
    return replace(
        taken,
        inference_s=sum(heard.inference_s for heard in tries),
        batch_inference_s=sum(heard.batch_inference_s for heard in tries),
        language_probability=tries[0].language_probability,
    )


def ladder(options: Options, quality: Quality) -> tuple[float, ...]:
    """The warmer temperatures; none where the caller chose one."""
    return tuple(t for t in quality.temperatures if t > 0) if options.temperature == 0 else ()


def looks_wrong(heard: WindowResult, quality: Quality) -> bool:
    """Text that repeats itself or is unlikely, though something was said.

    In silence and noise a warmer try would only invent other words.
    """
    return any(
        s.no_speech_prob <= quality.no_speech_threshold
        and (
            s.compression_ratio > quality.compression_ratio_threshold
            or s.avg_logprob < quality.logprob_threshold
        )
        for s in heard.segments
    )


def loops(heard: WindowResult, quality: Quality) -> bool:
    return any(s.compression_ratio > quality.compression_ratio_threshold for s in heard.segments)


def likelihood(heard: WindowResult) -> float:
    """Mean log-probability; of nothing the least, since something was heard in another try."""
    return fmean(s.avg_logprob for s in heard.segments) if heard.segments else -inf
