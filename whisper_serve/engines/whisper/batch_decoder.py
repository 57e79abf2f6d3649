"""Decodes a batch of windows with any Whisper model: detects, generates, aligns, and decodes again what needs it.

Decoded again are requests for which a short context was not enough, with the
full one, and what is left of windows in which the model stopped early.
"""

from collections.abc import Sequence
from dataclasses import replace

from whisper_serve.engines.batches import by_length
from whisper_serve.engines.whisper.model import Decoded, Features, WhisperModel
from whisper_serve.engines.whisper.prompt import TIMESTAMP_S
from whisper_serve.engines.whisper.request import FULL_FRAMES, DecodeRequest, in_context, in_full_context
from whisper_serve.engines.whisper.segments import as_segments
from whisper_serve.engines.whisper.word_timestamps import settle
from whisper_serve.telemetry.metrics import CONTEXT, FULL_CONTEXT_RETRIES, record
from whisper_serve.types import SAMPLE_RATE, Segment, WindowResult

SHORTEST_REST_S = 1.0  # less than that of a window is not decoded again
UNFINISHED_S = 0.5  # a sentence that begins closer to the end of its window is left out
SPEECH_LOGPROB, SURE_LOGPROB, NO_SPEECH = -1.0, -0.5, 0.6  # below, or above, it is hardly speech

# Signs that the context was too short: the text repeats itself, or runs on past the speech.
REPETITIVE_RATIO = 1.9  # compression
CHARACTERS_PER_SECOND = 26
UNLIKELY_LOGPROB = -0.8


def decode_batch(model: WhisperModel[Features], batch: Sequence[DecodeRequest]) -> list[WindowResult]:
    """The result of each window. All run together; what is decoded again is grouped by length."""
    results = [WindowResult((), "") for _ in batch]
    groups = [[*enumerate(batch)]]
    while groups:
        unfinished: list[tuple[int, DecodeRequest]] = []
        for group in groups:
            decoded = decode(model, [request for _, request in group])
            for (i, request), one in zip(group, decoded, strict=True):
                results[i], again = advance(model, results[i], request, one)
                if again:
                    unfinished.append((i, again))
        groups = by_length(unfinished, lambda one: one[1].context_s, len(batch))
    return results


def decode(model: WhisperModel[Features], requests: Sequence[DecodeRequest]) -> list[Decoded]:
    """Encode what is not encoded yet, then detect, generate and align from that."""
    for request in requests:
        record(CONTEXT, request.context_s)
    requests = [r if r.encoded is not None else replace(r, encoded=model.encode(r)) for r in requests]
    features = model.features(requests)
    detected = detect_languages(model, features, requests)
    given = [r.options.language for r in requests]
    requests = [
        replace(r, options=replace(r.options, language=own or language))
        for r, own, (language, _) in zip(requests, given, detected, strict=True)
    ]
    decoded = finish_sentences(model, features, requests, model.generate(features, requests))
    decoded = align(model, features, requests, decoded)
    return [
        replace(one, language=own, language_probability=1.0, spoken=(language, probability))
        if own
        else replace(one, language=language, language_probability=probability)
        for one, own, (language, probability) in zip(decoded, given, detected, strict=True)
    ]


def detect_languages(
    model: WhisperModel[Features], features: Features, requests: Sequence[DecodeRequest]
) -> list[tuple[str, float]]:
    """Code and probability of the likeliest language of each request that wants it detected; ("", 0) for others."""
    languages = [("", 0.0) for _ in requests]
    rows = [i for i, r in enumerate(requests) if r.options.language is None or r.check_language]
    if rows:
        for i, probabilities in zip(rows, model.detect_language(model.select(features, rows)), strict=True):
            allowed = requests[i].options.languages or probabilities
            languages[i] = max(((code, probabilities[code]) for code in allowed), key=lambda of: of[1])
    return languages


def finish_sentences(
    model: WhisperModel[Features],
    features: Features,
    requests: Sequence[DecodeRequest],
    decoded: Sequence[Decoded],
) -> list[Decoded]:
    """Let the model finish the sentences that the end of a window cuts off.

    Whisper only names the time such a sentence begins, and leaves its words to
    a next window that begins there. None will here: these requests are decoded
    again, with the text so far as a beginning.
    """
    finished = [*decoded]
    timestamp_begin = model.prompt.tokenizer().timestamp_begin
    rows = [i for i, r in enumerate(requests) if is_cut_off(decoded[i], r.seconds, timestamp_begin)]
    if not rows:
        return finished
    prefixes = [tuple(t for t in decoded[i].tokens if t < timestamp_begin) for i in rows]
    rests = model.generate(model.select(features, rows), [requests[i] for i in rows], prefixes)
    for i, rest in zip(rows, rests, strict=True):
        begun = decoded[i]
        finished[i] = replace(
            begun,
            tokens=begun.tokens + rest.tokens,
            sum_logprob=begun.sum_logprob + rest.sum_logprob,
            logprobs=begun.logprobs + rest.logprobs,
        )
    return finished


def align(
    model: WhisperModel[Features],
    features: Features,
    requests: Sequence[DecodeRequest],
    decoded: Sequence[Decoded],
) -> list[Decoded]:
    """Give those their words' times that ask for them."""
    aligned = [*decoded]
    rows = [i for i, r in enumerate(requests) if r.options.word_timestamps]
    if not rows:
        return aligned
    eot = model.prompt.tokenizer().eot
    texts = [[t for t in decoded[i].tokens if t < eot] for i in rows]
    timings = model.align(model.select(features, rows), [requests[i] for i in rows], texts)
    for i, words in zip(rows, timings, strict=True):
        aligned[i] = replace(decoded[i], words=settle(words))
    return aligned


def advance(
    model: WhisperModel[Features], result: WindowResult, request: DecodeRequest, decoded: Decoded
) -> tuple[WindowResult, DecodeRequest | None]:
    """A window's result with what was decoded; and what is still to be decoded of it, if anything."""
    speech = is_speech(decoded)
    ran_out = speech and len(decoded.tokens) >= request.max_tokens
    tokenizer = model.prompt.tokenizer(decoded.language)
    segments, upto = as_segments(decoded, request.seconds, request.options.temperature, tokenizer, ran_out)
    if request.frames < FULL_FRAMES and needs_full_context(segments, decoded, request):
        record(FULL_CONTEXT_RETRIES)
        return result, in_full_context(request)
    if not result.language:
        result = with_languages_of(decoded, result)
    shifted = tuple(segment.shifted(request.start) for segment in segments)
    result = replace(result, segments=result.segments + shifted)
    if not (speech and SHORTEST_REST_S <= upto <= request.seconds - SHORTEST_REST_S):
        return result, None
    rest = replace(
        request,
        samples=request.samples[round(upto * SAMPLE_RATE) :],
        start=request.start + upto,
        options=replace(request.options, language=result.language),
        check_language=False,
    )
    return result, in_context(rest, model.adaptive)


def with_languages_of(decoded: Decoded, result: WindowResult) -> WindowResult:
    spoken, probability = decoded.spoken
    return replace(
        result,
        language=decoded.language,
        language_probability=decoded.language_probability,
        spoken_language=spoken,
        spoken_probability=probability,
    )


def needs_full_context(segments: Sequence[Segment], decoded: Decoded, request: DecodeRequest) -> bool:
    """Whether the text shows that a short context was not enough."""
    characters = sum(len(s.text) for s in segments)
    return (
        len(decoded.tokens) >= request.max_tokens
        or decoded.avg_logprob < UNLIKELY_LOGPROB
        or characters > CHARACTERS_PER_SECOND * request.seconds
        or any(s.compression_ratio > REPETITIVE_RATIO for s in segments)
    )


def is_speech(decoded: Decoded) -> bool:
    """Whether more can be expected from where this came from."""
    unsure = decoded.no_speech_prob > NO_SPEECH and decoded.avg_logprob < SURE_LOGPROB
    return decoded.avg_logprob >= SPEECH_LOGPROB and not unsure


def is_cut_off(decoded: Decoded, seconds: float, timestamp_begin: int) -> bool:
    """Whether it ends in a pair of timestamps: the end of one sentence, and the begin of one without words."""
    *_, end, begin = (0, 0, *decoded.tokens)
    return (
        end >= timestamp_begin
        and 0 < begin - timestamp_begin <= (seconds - UNFINISHED_S) / TIMESTAMP_S
        and is_speech(decoded)
    )
