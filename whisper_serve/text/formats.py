"""Render a transcript as a response body. To add a format: write a function and list it in FORMATS.

Every time goes through `milliseconds`, so that it is rounded once and alike in all formats.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from whisper_serve.text.labels import label_fields, label_of, voice_of
from whisper_serve.text.languages import LANGUAGES
from whisper_serve.text.subtitles import AS_SEGMENTS, Caption, Layout, captions, on_one_line
from whisper_serve.types import Segment, TokenLogprob, Transcript

DEFAULT_LANGUAGE = "en"  # of a transcript without words: clients' parsers require one
AUDIO_TOKENS_PER_S = 50  # positions of Whisper's encoder


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Which parts of a transcript to render."""

    segments: bool = True  # in verbose_json
    words: bool = False  # in formats that list them
    logprobs: bool = False  # in json
    layout: Layout = AS_SEGMENTS  # of srt and vtt
    model: str = ""  # its id, in json


@dataclass(frozen=True, slots=True)
class Format:
    render: Callable[[Transcript, RenderOptions], str]
    media_type: str
    lists_words: bool = False  # has a place for each word's times


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def rounded(seconds: float) -> float:
    return milliseconds(seconds) / 1000


def format_timestamp(ms: int, mark: str) -> str:
    """3500 -> "00:00:03,500"."""
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{mark}{ms % 1000:03}"


def as_json(t: Transcript, options: RenderOptions) -> str:
    """OpenAI's, with the language and the model, which Mistral's clients require."""
    body: dict[str, Any] = {"text": t.text, "language": language_of(t)}
    if options.model:
        body["model"] = options.model
    body |= labelled_segments(t.segments)
    if options.logprobs:
        body["logprobs"] = logprobs_of(t.segments)
    return dumped(body | {"usage": usage(t)} | warnings_of(t))


def as_verbose_json(t: Transcript, options: RenderOptions) -> str:
    """OpenAI's: words, where asked for, are listed beside the segments."""
    body: dict[str, Any] = {
        "task": t.task,
        "language": LANGUAGES[language_of(t)],
        "duration": rounded(t.duration),
        "text": t.text,
    }
    if options.segments:
        body["segments"] = [segment_fields(i, s) for i, s in enumerate(t.segments)]
    if options.words:
        words = [word for s in t.segments for word in word_fields(s)]
        body["words"] = sorted(words, key=itemgetter("start")) if is_labelled(t.segments) else words
    return dumped(body | {"usage": usage(t)} | warnings_of(t))


def as_whisper_json(t: Transcript, options: RenderOptions) -> str:
    """openai-whisper's own: words, where asked for, are inside their segments."""
    segments = []
    for i, s in enumerate(t.segments):
        fields = segment_fields(i, s)
        if options.words:
            probabilities = [word.probability for word in s.words]
            fields["words"] = [
                word | {"probability": p} for word, p in zip(word_fields(s), probabilities, strict=True)
            ]
        segments.append(fields)
    return dumped({"text": t.text, "segments": segments, "language": language_of(t)} | warnings_of(t))


def as_whisper_cpp_json(t: Transcript, options: RenderOptions) -> str:
    """The verbose JSON of whisper.cpp's server: words, where asked for, are inside their segments."""
    segments = []
    for i, s in enumerate(t.segments):
        fields = segment_fields(i, s)
        if options.words:
            fields["words"] = [
                {
                    "word": w.text,
                    "start": rounded(w.start),
                    "end": rounded(w.end),
                    "probability": w.probability,
                }
                for w in s.words
            ]
        segments.append(fields)
    return dumped(
        {
            "task": t.task,
            "language": LANGUAGES[language_of(t)],
            "duration": rounded(t.duration),
            "text": t.text,
            "segments": segments,
        }
    )


def as_text(t: Transcript, options: RenderOptions) -> str:
    """One line; with channels or speakers, a line for each turn."""
    turns = groupby(t.segments, label_of)
    return "\n".join(f"{label}{''.join(s.text for s in said).strip()}" for label, said in turns)


def as_txt(t: Transcript, options: RenderOptions) -> str:
    return lines(f"{label_of(s)}{on_one_line(s.text).strip()}" for s in t.segments)


def as_tsv(t: Transcript, options: RenderOptions) -> str:
    """openai-whisper's columns; with channels or speakers, one more for each."""
    labels = dict.fromkeys(name for s in t.segments for name in label_fields(s))
    rows = [["start", "end", "text", *labels]]
    for s in t.segments:
        times = [str(milliseconds(s.start)), str(milliseconds(s.end))]
        text = on_one_line(s.text).strip().replace("\t", " ")
        rows.append([*times, text, *(str(label_fields(s).get(name, "")) for name in labels)])
    return lines(map("\t".join, rows))


def as_srt(t: Transcript, options: RenderOptions) -> str:
    return "\n".join(
        f"{n}\n{cue_timing(caption, ',')}\n{label_of(caption)}{caption.text.replace('-->', '->')}\n"
        for n, caption in enumerate(captions(t.segments, options.layout), 1)
    )


def as_vtt(t: Transcript, options: RenderOptions) -> str:
    cues = (
        f"{cue_timing(caption, '.')}\n{voiced(caption)}\n" for caption in captions(t.segments, options.layout)
    )
    return "\n".join(["WEBVTT\n", *cues])


FORMATS = {
    "json": Format(as_json, "application/json"),
    "text": Format(as_text, "text/plain"),
    "srt": Format(as_srt, "text/plain"),
    "verbose_json": Format(as_verbose_json, "application/json", lists_words=True),
    "vtt": Format(as_vtt, "text/vtt"),
    "tsv": Format(as_tsv, "text/tab-separated-values"),
    "txt": Format(as_txt, "text/plain"),
    "whisper_json": Format(as_whisper_json, "application/json", lists_words=True),
    "whisper_cpp_json": Format(as_whisper_cpp_json, "application/json", lists_words=True),
}


def dumped(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def cue_timing(caption: Caption, mark: str) -> str:
    """ "00:00:03,500 --> 00:00:04,000"; at least a millisecond, or no player would show the caption."""
    start = milliseconds(caption.start)
    end = max(milliseconds(caption.end), start + 1)
    return f"{format_timestamp(start, mark)} --> {format_timestamp(end, mark)}"


def escaped(text: str) -> str:
    """Text for WebVTT, which would take these characters for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def voiced(caption: Caption) -> str:
    """A caption's text for WebVTT, in a voice tag where it is known who said it."""
    voice, text = escaped(voice_of(caption)), escaped(caption.text)
    return f"<v {voice}>{text}</v>" if voice else text


def language_of(t: Transcript) -> str:
    """ISO 639-1 code of the words: English where they were translated into it."""
    return "en" if t.task == "translate" else t.language or DEFAULT_LANGUAGE


def segment_fields(i: int, s: Segment) -> dict[str, Any]:
    fields = {
        "id": i,
        "seek": milliseconds(s.start) // 10,  # in mel frames
        "start": rounded(s.start),
        "end": rounded(s.end),
        "text": s.text,
        "tokens": list(s.tokens),
        "temperature": s.temperature,
        "avg_logprob": s.avg_logprob,
        "compression_ratio": s.compression_ratio,
        "no_speech_prob": s.no_speech_prob,
    }
    language = {"language": s.language} if s.language else {}
    return fields | language | label_fields(s)


def is_labelled(segments: Iterable[Segment]) -> bool:
    return any(label_fields(s) for s in segments)


def labelled_segments(segments: Sequence[Segment]) -> dict[str, Any]:
    """A field more in JSON that has no segments otherwise, where a channel or a speaker is known."""
    if not is_labelled(segments):
        return {}
    times = [{"start": rounded(s.start), "end": rounded(s.end), "text": s.text.strip()} for s in segments]
    return {"segments": [time | label_fields(s) for time, s in zip(times, segments, strict=True)]}


def word_fields(s: Segment) -> list[dict[str, Any]]:
    return [
        {"word": w.text.strip(), "start": rounded(w.start), "end": rounded(w.end)} | label_fields(w)
        for w in s.words
    ]


def logprobs_of(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    return [logprob_fields(token) for s in segments for token in s.logprobs]


def logprob_fields(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.bytes)}


def warnings_of(t: Transcript) -> dict[str, Any]:
    """A field more in JSON, where there are any."""
    return {"warnings": [*t.warnings]} if t.warnings else {}


def usage(t: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": rounded(t.duration)}


def token_usage(t: Transcript) -> dict[str, Any]:
    """Usage in tokens, at the end of a stream: OpenAI's schema has no usage by duration there. Seconds are added."""
    audio, text = round(t.duration * AUDIO_TOKENS_PER_S), sum(len(s.tokens) for s in t.segments)
    return {
        "type": "tokens",
        "input_tokens": audio,
        "input_token_details": {"audio_tokens": audio, "text_tokens": 0},
        "output_tokens": text,
        "total_tokens": audio + text,
        "seconds": rounded(t.duration),
    }
