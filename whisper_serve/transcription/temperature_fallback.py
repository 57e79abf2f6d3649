"""Transcribe a window again at higher temperatures while its text repeats itself or is unlikely.

openai-whisper's temperature fallback, window by window: each attempt goes into the replicas' queue like any other
window, so that no batch waits for it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from statistics import fmean

from whisper_serve.text.filters import Thresholds
from whisper_serve.types import Options, Window, WindowResult

Infer = Callable[[Window], Awaitable[WindowResult]]


async def transcribe_with_fallback(
    window: Window, infer: Infer, temperatures: tuple[float, ...], thresholds: Thresholds
) -> WindowResult:
    """The first result that needs no fallback; where all do, the likeliest that is not repetitive (as in faster-whisper).

    The second attempt also detects the language, where it was given: if another is surely spoken, it is the last,
    since no temperature helps then.

    Its inference times are those of all attempts together; its language probability is that of the first, which
    alone detected the language. Raises what `infer` raises.
    """
    results = [await infer(window)]
    for temperature in higher_temperatures(window.options, temperatures):
        if not needs_fallback(results[-1], thresholds) or another_is_spoken(results[-1], thresholds):
            break
        options = replace(window.options, temperature=temperature, language=results[0].language)
        check = len(results) == 1 and window.options.language is not None
        results.append(await infer(replace(window, options=options, check_language=check)))
    best = results[-1]
    if needs_fallback(best, thresholds):
        best = max(results, key=lambda result: (not is_repetitive(result, thresholds), likelihood(result)))
    checked = results[min(1, len(results) - 1)]
    return replace(
        best,
        spoken_language=checked.spoken_language,
        spoken_probability=checked.spoken_probability,
        inference_s=sum(result.inference_s for result in results),
        batch_inference_s=sum(result.batch_inference_s for result in results),
        language_probability=results[0].language_probability,
    )


def higher_temperatures(options: Options, temperatures: tuple[float, ...]) -> tuple[float, ...]:
    """Those to fall back to; none where the caller chose a temperature."""
    return tuple(t for t in temperatures if t > 0) if options.temperature == 0 else ()


def needs_fallback(result: WindowResult, thresholds: Thresholds) -> bool:
    """Whether a segment that is likely speech repeats itself or has an unlikely text.

    In silence and noise a higher temperature would only invent other words.
    """
    return any(
        s.no_speech_prob <= thresholds.no_speech_threshold
        and (
            s.compression_ratio > thresholds.compression_ratio_threshold
            or s.avg_logprob < thresholds.logprob_threshold
        )
        for s in result.segments
    )


def another_is_spoken(result: WindowResult, thresholds: Thresholds) -> bool:
    """Whether a language other than the one that it was transcribed in was detected, and surely so."""
    return (
        result.spoken_language not in ("", result.language)
        and result.spoken_probability >= thresholds.language_threshold
    )


def is_repetitive(result: WindowResult, thresholds: Thresholds) -> bool:
    return any(s.compression_ratio > thresholds.compression_ratio_threshold for s in result.segments)


def likelihood(result: WindowResult) -> float:
    """Mean log-probability, of a result that has a text: one without needs no fallback."""
    return fmean(s.avg_logprob for s in result.segments)
