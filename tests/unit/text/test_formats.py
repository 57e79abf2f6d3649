import json
from dataclasses import replace

import pytest
import srt
import webvtt

from whisper_serve.text.formats import FORMATS, RenderOptions, format_timestamp, milliseconds
from whisper_serve.text.subtitles import Layout
from whisper_serve.types import Segment, TokenLogprob, Transcript, Word

SILENCE = Transcript((), 3.0)
SPEECH = Transcript(
    (
        Segment(
            0.0,
            2.2996,
            " Ask not.",
            tokens=(1, 2),
            temperature=0.2,
            avg_logprob=-0.25,
            compression_ratio=0.9,
            no_speech_prob=0.01,
            words=(Word(0.0, 1.0, " Ask", 0.9), Word(1.0, 2.2996, " not.", 0.8)),
            logprobs=(TokenLogprob(" Ask", -0.1, (32, 65, 115, 107)),),
        ),
        Segment(3661.0014, 3662.9999, " Q&A --> <i>\tjetzt schön", tokens=(3,)),
    ),
    duration=3663.0,
    language="en",
)

CALL = Transcript(
    (
        Segment(0.0, 2.0, " Hello.", words=(Word(0.0, 2.0, " Hello.", 0.9, channel=1),), channel=1),
        Segment(1.0, 3.0, " Who's", words=(Word(1.0, 3.0, " Who's", 0.9, channel=2),), channel=2),
        Segment(3.0, 4.0, " there?", words=(Word(3.0, 4.0, " there?", 0.9, channel=2),), channel=2),
    ),
    duration=4.0,
    language="en",
)
SPEAKERS = replace(
    CALL, segments=tuple(s.said_by(s.channel, f"SPEAKER_0{(s.channel or 1) - 1}") for s in CALL.segments)
)


def render(name: str, transcript: Transcript = SPEECH, options: RenderOptions = RenderOptions()) -> str:  # noqa: B008
    return FORMATS[name].render(transcript, options)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "00:00:00,000"),
        (1.9999, "00:00:02,000"),
        (2.3, "00:00:02,300"),
        (3661.001, "01:01:01,001"),
        (360_000, "100:00:00,000"),
    ],
)
def test_timestamps_are_rounded_and_never_floored(seconds: float, shown: str) -> None:
    assert format_timestamp(milliseconds(seconds), ",") == shown


def test_a_foreign_parser_reads_the_srt() -> None:
    first, second = srt.parse(render("srt"), ignore_errors=False)
    assert (first.index, first.content, second.index) == (1, "Ask not.", 2)
    assert first.start.total_seconds() == 0
    assert first.end.total_seconds() == 2.3
    assert second.start.total_seconds() == 3661.001
    assert second.content == "Q&A -> <i>\tjetzt schön"


def test_a_foreign_parser_reads_the_vtt() -> None:
    first, second = webvtt.from_string(render("vtt")).captions
    assert (first.text, first.start, first.end) == ("Ask not.", "00:00:00.000", "00:00:02.300")
    assert (second.start, second.end) == ("01:01:01.001", "01:01:03.000")
    assert "Q&amp;A --&gt; &lt;i&gt;" in render("vtt")


def test_every_format_gives_the_same_rounded_times() -> None:
    verbose = json.loads(render("verbose_json", options=RenderOptions(words=True)))
    assert verbose["segments"][0]["end"] == verbose["words"][1]["end"] == 2.3
    assert json.loads(render("whisper_json"))["segments"][1]["start"] == 3661.001
    assert render("tsv").splitlines()[1:] == [
        "0\t2300\tAsk not.",
        "3661001\t3663000\tQ&A --> <i> jetzt schön",
    ]


def test_silence_is_a_valid_empty_file_in_every_format() -> None:
    assert list(srt.parse(render("srt", SILENCE), ignore_errors=False)) == []
    assert webvtt.from_string(render("vtt", SILENCE)).captions == []
    assert render("vtt", SILENCE).startswith("WEBVTT\n")
    assert render("tsv", SILENCE) == "start\tend\ttext\n"
    assert (render("text", SILENCE), render("txt", SILENCE)) == ("", "")
    for name in ("json", "verbose_json", "whisper_json"):
        assert json.loads(render(name, SILENCE))["text"] == ""
    verbose = json.loads(render("verbose_json", SILENCE))
    assert (verbose["segments"], verbose["language"], verbose["duration"]) == ([], "english", 3.0)


def test_text_is_one_line_and_txt_a_line_for_each_segment() -> None:
    assert render("text") == "Ask not. Q&A --> <i>\tjetzt schön"
    assert render("txt").splitlines() == ["Ask not.", "Q&A --> <i>\tjetzt schön"]


def test_verbose_json_has_the_figures_of_each_segment() -> None:
    assert json.loads(render("verbose_json"))["segments"][0] == {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 2.3,
        "text": " Ask not.",
        "tokens": [1, 2],
        "temperature": 0.2,
        "avg_logprob": -0.25,
        "compression_ratio": 0.9,
        "no_speech_prob": 0.01,
    }


def test_verbose_json_has_what_was_asked_for_and_no_more() -> None:
    fields = {"task", "language", "duration", "text", "usage"}
    assert set(json.loads(render("verbose_json"))) == fields | {"segments"}
    assert set(
        json.loads(render("verbose_json", options=RenderOptions(segments=False, words=True)))
    ) == fields | {"words"}
    both = json.loads(render("verbose_json", options=RenderOptions(words=True)))
    assert set(both) == fields | {"segments", "words"}
    assert both["words"][0] == {"word": "Ask", "start": 0.0, "end": 1.0}


def test_json_shows_logprobs_when_asked() -> None:
    assert json.loads(render("json")) == {
        "text": SPEECH.text,
        "language": "en",
        "usage": {"type": "duration", "seconds": 3663.0},
    }
    logprobs = json.loads(render("json", options=RenderOptions(logprobs=True)))["logprobs"]
    assert logprobs == [{"token": " Ask", "logprob": -0.1, "bytes": [32, 65, 115, 107]}]


def test_a_translation_is_english() -> None:
    body = json.loads(render("verbose_json", Transcript((), 1.0, "de", task="translate")))
    assert (body["task"], body["language"]) == ("translate", "english")


def test_whisper_json_keeps_words_in_their_segments() -> None:
    body = json.loads(render("whisper_json", options=RenderOptions(words=True)))
    assert body["language"] == "en"
    assert body["segments"][0]["words"][1] == {"word": "not.", "start": 1.0, "end": 2.3, "probability": 0.8}
    assert "words" not in json.loads(render("whisper_json"))["segments"][0]


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_a_layout_applies_to_both_subtitle_formats(name: str) -> None:
    options = RenderOptions(layout=Layout(max_words_per_line=1))
    shown = render(name, SPEECH, options)
    assert shown.count(" --> ") == 3


def test_no_caption_is_shorter_than_a_millisecond() -> None:
    shown = render("vtt", Transcript((Segment(1.0, 1.0, " Oh."),), 2.0))
    assert "00:00:01.000 --> 00:00:01.001" in shown


def test_text_has_a_line_for_each_turn_with_its_channel_or_speaker() -> None:
    assert render("text", CALL) == "[ch 1] Hello.\n[ch 2] Who's there?"
    assert render("text", SPEAKERS) == "SPEAKER_00: Hello.\nSPEAKER_01: Who's there?"
    assert render("txt", CALL) == "[ch 1] Hello.\n[ch 2] Who's\n[ch 2] there?\n"


def test_a_foreign_parser_reads_subtitles_with_channels_and_speakers() -> None:
    cues = list(srt.parse(render("srt", CALL), ignore_errors=False))
    assert [cue.content for cue in cues] == ["[ch 1] Hello.", "[ch 2] Who's", "[ch 2] there?"]
    assert next(srt.parse(render("srt", SPEAKERS))).content == "SPEAKER_00: Hello."
    captions = webvtt.from_string(render("vtt", SPEAKERS)).captions
    assert [(c.voice, c.text) for c in captions] == [
        ("SPEAKER_00", "Hello."),
        ("SPEAKER_01", "Who's"),
        ("SPEAKER_01", "there?"),
    ]
    assert webvtt.from_string(render("vtt", CALL)).captions[0].voice == "ch 1"


def test_captions_join_no_two_channels_and_labels_fit_into_their_lines() -> None:
    options = RenderOptions(layout=Layout(max_line_width=14, max_line_count=2))
    cues = list(srt.parse(render("srt", CALL, options), ignore_errors=False))
    assert [cue.content for cue in cues] == ["[ch 1] Hello.", "[ch 2] Who's\nthere?"]


def test_tsv_has_a_column_more_for_what_is_known() -> None:
    assert render("tsv", CALL).splitlines()[:2] == ["start\tend\ttext\tchannel", "0\t2000\tHello.\t1"]
    assert render("tsv", SPEAKERS).splitlines()[1] == "0\t2000\tHello.\t1\tSPEAKER_00"


def test_json_has_fields_for_channels_and_speakers_where_they_are_known() -> None:
    options = RenderOptions(words=True)
    assert json.loads(render("json", SPEAKERS))["segments"][1] == {
        "start": 1.0,
        "end": 3.0,
        "text": "Who's",
        "channel": 2,
        "speaker": "SPEAKER_01",
    }
    verbose = json.loads(render("verbose_json", CALL, options))
    assert [(s["channel"], "speaker" in s) for s in verbose["segments"]] == [
        (1, False),
        (2, False),
        (2, False),
    ]
    assert verbose["words"][1] == {"word": "Who's", "start": 1.0, "end": 3.0, "channel": 2}
    inside = json.loads(render("whisper_json", SPEAKERS, options))["segments"][2]
    assert (inside["speaker"], inside["words"][0]["speaker"]) == ("SPEAKER_01", "SPEAKER_01")


def test_words_of_several_channels_are_in_order_of_time() -> None:
    long = Segment(0, 9, " a b", words=(Word(0, 1, " a", 1, 1), Word(8, 9, " b", 1, 1)), channel=1)
    other = Segment(2, 3, " c", words=(Word(2, 3, " c", 1, 2),), channel=2)
    shown = render("verbose_json", Transcript((long, other), 9.0), RenderOptions(words=True))
    assert [word["word"] for word in json.loads(shown)["words"]] == ["a", "c", "b"]


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_said_of_channels_and_speakers_that_are_not_known(name: str) -> None:
    shown = render(name, options=RenderOptions(words=True))
    assert not any(mark in shown for mark in ("channel", "speaker", "[ch", "<v"))
