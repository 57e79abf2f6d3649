"""OpenAI's dialect over ASGI, with the fake engine behind it."""

import json
from typing import Any

import httpx
import pytest
import srt
import webvtt

from tests.conftest import fake_config, fake_infer, served, wav
from tests.support.openai_schema import check
from whisper_serve.config.resolve import Resolved
from whisper_serve.errors import (
    BadRequest,
    ModelFailed,
    Overloaded,
    TimedOut,
    TranscriptionError,
    Unavailable,
)
from whisper_serve.text.formats import FORMATS
from whisper_serve.types import Segment, TokenLogprob, VadOptions, Window, WindowResult

pytestmark = pytest.mark.anyio

TRANSCRIPTIONS = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"


async def post(
    client: httpx.AsyncClient, path: str = TRANSCRIPTIONS, data: bytes = b"", **fields: Any
) -> httpx.Response:
    named = {name.replace("__", "[").rstrip("_") + "]" * ("__" in name): v for name, v in fields.items()}
    return await client.post(path, files={"file": ("a.wav", data or wav(2))}, data=named)


async def test_json_is_the_default_and_fits_openai_s_schema(client: httpx.AsyncClient) -> None:
    answer = await post(client, model="whisper-1")
    check("json", answer.json())
    assert answer.json() == {
        "text": "2.0 seconds at 0.0, batch of 1.",
        "language": "en",
        "model": "whisper-1",
        "usage": {"type": "duration", "seconds": 2.0},
    }
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("format", "content_type"),
    [
        ("text", "text/plain; charset=utf-8"),
        ("srt", "text/plain; charset=utf-8"),
        ("vtt", "text/vtt; charset=utf-8"),
        ("json", "application/json"),
        ("verbose_json", "application/json"),
        ("tsv", "text/tab-separated-values; charset=utf-8"),
    ],
)
@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS])
async def test_each_format_comes_as_its_own_type(
    client: httpx.AsyncClient, path: str, format: str, content_type: str
) -> None:
    answer = await client.post(
        path,
        files={"file": ("a.wav", wav(2))},
        data={"response_format": format},
        headers={"accept": "application/json"},
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert "2.0 seconds at 0.0" in answer.text
    assert answer.headers["x-audio-seconds"] == "2.000"


async def test_foreign_parsers_read_the_subtitles(client: httpx.AsyncClient) -> None:
    (cue,) = srt.parse((await post(client, response_format="srt")).text, ignore_errors=False)
    assert cue.end.total_seconds() == 2.0
    (caption,) = webvtt.from_string((await post(client, response_format="vtt")).text).captions
    assert caption.text == cue.content == "2.0 seconds at 0.0, batch of 1."


async def test_subtitle_options_break_lines(client: httpx.AsyncClient) -> None:
    answer = await post(client, response_format="srt", max_line_width="12", max_line_count="1")
    cues = [cue.content for cue in srt.parse(answer.text, ignore_errors=False)]
    assert cues == ["2.0 seconds", "at 0.0,", "batch of 1."]


@pytest.mark.parametrize("name", ["timestamp_granularities[]", "timestamp_granularities"])
async def test_granularities_decide_on_segments_and_words(client: httpx.AsyncClient, name: str) -> None:
    for granularities, expected in [
        ([], {"segments"}),
        (["segment"], {"segments"}),
        (["word"], {"words"}),
        (["word", "segment"], {"words", "segments"}),
    ]:
        body = (
            await post(client, response_format="verbose_json", **dict[str, Any]({name: granularities}))
        ).json()
        check("verbose_json", body)
        assert {"segments", "words"} & set(body) == expected
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 2.0)


@pytest.mark.parametrize("format", ["json", "text", "srt", "vtt"])
async def test_words_in_a_format_without_a_place_for_them_are_400(
    client: httpx.AsyncClient, format: str
) -> None:
    answer = await post(client, response_format=format, timestamp_granularities__="word")
    check("error", answer.json())
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "timestamp_granularities[]"


@pytest.mark.parametrize("fields", [{"stream": "true"}, {"model": "gpt-4o-mini-transcribe"}], ids=str)
async def test_words_are_left_out_of_streams_and_for_gpt_4o(fields: dict[str, str]) -> None:
    recorder = Recorder()
    async with served(fake_config(), recorder) as client:
        answer = await post(client, timestamp_granularities__=["segment", "word"], **dict[str, Any](fields))
    assert answer.status_code == 200, answer.text
    assert not recorder.windows[0].options.word_timestamps


async def test_words_are_listed_for_gpt_4o_where_the_format_has_a_place(client: httpx.AsyncClient) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    answer = await post(client, model="gpt-4o-transcribe", **dict[str, Any](fields))
    assert len(answer.json()["words"]) > 1


async def test_a_translation_says_so(client: httpx.AsyncClient) -> None:
    body = (await post(client, TRANSLATIONS, response_format="verbose_json")).json()
    check("verbose_json", body)
    assert (body["task"], body["language"]) == ("translate", "english")


@pytest.mark.parametrize(
    "model",
    ["", "base", "whisper-1", "gpt-4o-transcribe", "Systran/faster-whisper-base", "openai/whisper-base"],
)
async def test_the_model_goes_by_many_names(client: httpx.AsyncClient, model: str) -> None:
    assert (await post(client, model=model)).status_code == 200
    if model:
        entry = (await client.get(f"/v1/models/{model}")).json()
        check("model", entry)
        assert entry["id"] == model


async def test_models_are_listed_its_own_name_first(client: httpx.AsyncClient) -> None:
    body = (await client.get("/v1/models")).json()
    check("models", body)
    assert [entry["id"] for entry in body["data"]][:2] == ["base", "whisper-1"]


async def test_a_model_that_is_not_served_is_404(client: httpx.AsyncClient) -> None:
    for answer in (
        await post(client, model="whisper-9"),
        await post(client, TRANSLATIONS, model="whisper-9"),
        await client.get("/v1/models/whisper-9"),
        await client.get("/v1/models/Systran/faster-whisper-tiny"),
    ):
        check("error", answer.json())
        error = answer.json()["error"]
        assert answer.status_code == 404
        assert (error["type"], error["param"], error["code"]) == (
            "invalid_request_error",
            "model",
            "model_not_found",
        )


class TestOtherNames:
    @pytest.fixture
    def config(self) -> Resolved:
        return fake_config(model={"engine": "fake", "size": "tiny.en", "aliases": ["x/{size}", "my-whisper"]})

    async def test_aliases_are_config_rows(self, client: httpx.AsyncClient) -> None:
        body = (await client.get("/v1/models")).json()
        assert [entry["id"] for entry in body["data"]] == ["tiny.en", "x/tiny.en", "my-whisper"]
        assert (await post(client, model="my-whisper")).status_code == 200
        assert (await post(client, model="whisper-1")).status_code == 404

    async def test_an_english_model_claims_no_other_language(self, client: httpx.AsyncClient) -> None:
        body = (await client.get("/capabilities")).json()
        assert (body["tasks"], body["languages"]) == (["transcribe"], {"en": "english"})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "docx"}, "response_format"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": "1.5"}, "temperature"),
        ({"language": "klingon"}, "language"),
        ({"stream": "perhaps"}, "stream"),
        ({"timestamp_granularities[]": "phoneme"}, "timestamp_granularities[]"),
        ({"include[]": "speakers"}, "include[]"),
        ({"chunking_strategy": "often"}, "chunking_strategy"),
        ({"chunking_strategy": '{"type": "server_vad", "threshold": 2}'}, "chunking_strategy"),
        ({"chunking_strategy[threshold]": "2"}, "chunking_strategy[threshold]"),
        ({"max_line_width": "0"}, "max_line_width"),
    ],
)
async def test_a_mistake_is_400_and_names_its_field(
    client: httpx.AsyncClient, fields: dict[str, str], param: str
) -> None:
    answer = await post(client, **dict[str, Any](fields))
    check("error", answer.json())
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert param in error["message"]


async def test_a_request_without_a_file_is_400(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.post(TRANSCRIPTIONS),
        await client.post(TRANSCRIPTIONS, data={"file": "text"}),
        await client.post(TRANSCRIPTIONS, files={"file": (None, b"no filename")}),
        await client.post(TRANSCRIPTIONS, json={"file": "a.wav"}),
    ):
        check("error", answer.json())
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


@pytest.mark.parametrize("data", [b"\0", b"not audio", wav(1)[:60]])
async def test_bytes_that_are_no_recording_are_400(client: httpx.AsyncClient, data: bytes) -> None:
    answer = await post(client, data=data)
    check("error", answer.json())
    assert answer.status_code == 400


async def test_empty_strings_and_unknown_fields_change_nothing(client: httpx.AsyncClient) -> None:
    names = ["model", "language", "prompt", "temperature", "response_format", "stream", "hotwords"]
    blank = dict.fromkeys(
        [*names, "chunking_strategy", "include[]", "timestamp_granularities[]", "max_line_width"], ""
    )
    answer = await client.post(
        TRANSCRIPTIONS,
        files={"file": ("blob", wav(2))},
        data=blank | {"known_speaker_names[]": "a", "n": "1"},
    )
    assert answer.status_code == 200, answer.text
    check("json", answer.json())


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v1/nowhere", 404, "unknown_url"), ("GET", TRANSCRIPTIONS, 405, None)],
)
async def test_a_wrong_path_or_method_is_answered_in_openai_s_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str | None
) -> None:
    answer = await client.request(method, path)
    check("error", answer.json())
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert path in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (BadRequest("no"), 400, {}),
        (Overloaded("busy", 7), 429, {"retry-after": "7"}),
        (ModelFailed("broke"), 500, {"x-should-retry": "false"}),
        (Unavailable("starting"), 503, {"retry-after": "1"}),
        (TimedOut("late"), 504, {"x-should-retry": "false"}),
        (KeyError("unforeseen"), 500, {"x-should-retry": "false"}),
    ],
)
async def test_every_failure_has_its_status_and_says_whether_a_retry_helps(
    error: Exception, status: int, headers: dict[str, str]
) -> None:
    async def failing(window: Window) -> WindowResult:
        raise error

    async with served(fake_config(), failing) as client:
        answer = await post(client)
    check("error", answer.json())
    assert answer.status_code == status
    kept = {
        name: answer.headers[name] for name in ("retry-after", "x-should-retry") if name in answer.headers
    }
    assert kept == headers
    if isinstance(error, TranscriptionError):
        assert str(error) in answer.json()["error"]["message"]


class Recorder:
    """An `infer` that keeps the windows it was given."""

    def __init__(self) -> None:
        self.windows: list[Window] = []

    async def __call__(self, window: Window) -> WindowResult:
        self.windows.append(window)
        return await fake_infer(window)


async def test_fields_become_options() -> None:
    recorder = Recorder()
    async with served(fake_config(), recorder) as client:
        await post(
            client,
            language="German",
            prompt="Guten Tag",
            temperature="0.4",
            hotwords="Kaliko",
            keywords__=["Shaggy", "Tik-Tok"],
            use_parallel="false",
        )
    options = recorder.windows[0].options
    assert (options.language, options.prompt, options.temperature) == ("de", "Guten Tag", 0.4)
    assert options.hotwords == "Kaliko, Shaggy, Tik-Tok"
    assert not options.use_parallel
    assert not options.word_timestamps
    assert not options.logprobs


@pytest.mark.parametrize(
    ("fields", "vad"),
    [
        ({}, None),
        ({"chunking_strategy": "auto"}, None),
        ({"chunking_strategy[type]": "auto"}, None),
        (
            {"chunking_strategy": '{"type": "server_vad"}'},
            VadOptions(threshold=0.5, min_silence_s=0.2, padding_s=0.3),
        ),
        (
            {"chunking_strategy[type]": "server_vad"},
            VadOptions(threshold=0.5, min_silence_s=0.2, padding_s=0.3),
        ),
        (
            {
                "chunking_strategy[type]": "server_vad",
                "chunking_strategy[threshold]": "0.01",
                "chunking_strategy[silence_duration_ms]": "900",
                "chunking_strategy[prefix_padding_ms]": "0",
            },
            VadOptions(threshold=0.01, min_silence_s=0.9, padding_s=0.0),
        ),
    ],
)
async def test_chunking_strategy_sets_voice_activity_detection(
    fields: dict[str, str], vad: VadOptions | None
) -> None:
    from whisper_serve.api.openai.forms import Chunking

    renamed = {
        name.removeprefix("chunking_strategy").strip("[]") or "strategy": v for name, v in fields.items()
    }
    assert Chunking(**renamed).vad() == vad  # type: ignore[arg-type]
    async with served(fake_config(), fake_infer) as client:
        assert (await post(client, **dict[str, Any](fields))).status_code == 200


async def with_logprobs(window: Window) -> WindowResult:
    assert window.options.logprobs
    tokens = (TokenLogprob(" Hi", -0.5, (32, 72, 105)), TokenLogprob("\ufffd", -0.25, (227,)))
    return WindowResult((Segment(0, 1, " Hi", tokens=(1, 2), logprobs=tokens),), "en")


async def test_logprobs_come_when_included() -> None:
    async with served(fake_config(), with_logprobs) as client:
        body = (await post(client, include__="logprobs")).json()
        streamed = await post(client, include__="logprobs", stream="true")
    check("json", body)
    assert body["logprobs"][1] == {"token": "\ufffd", "logprob": -0.25, "bytes": [227]}
    delta, done = (json.loads(frame.split("data: ")[1]) for frame in streamed.text.split("\n\n") if frame)
    assert delta["logprobs"] == done["logprobs"] == body["logprobs"]


async def test_silence_is_a_valid_empty_answer_in_every_format() -> None:
    async with served(fake_config(vad={"method": "energy"}), fake_infer) as client:
        answers = {name: await post(client, data=wav(2, level=0), response_format=name) for name in FORMATS}
        streamed = await post(client, data=wav(2, level=0), stream="true")
    assert {answer.status_code for answer in answers.values()} == {200}
    check("verbose_json", answers["verbose_json"].json())
    assert answers["vtt"].text.startswith("WEBVTT")
    assert answers["srt"].text == answers["text"].text == ""
    (done,) = (json.loads(frame.split("data: ")[1]) for frame in streamed.text.split("\n\n") if frame)
    check("done", done)
    assert done["text"] == ""


async def test_capabilities_list_models_languages_formats_limits_and_streams(
    client: httpx.AsyncClient,
) -> None:
    body = (await client.get("/capabilities")).json()
    assert body["models"][0] == "base"
    assert body["tasks"] == ["transcribe", "translate"]
    assert body["languages"]["de"] == "german"
    assert {".wav", ".mp3", ".m4a", ".ogg"} <= set(body["audio_formats"])
    assert body["response_formats"] == list(FORMATS)
    assert body["limits"] == {"max_upload_mb": 512, "max_audio_s": 14400, "max_channels": 8}
    assert body["streaming"] == [
        {"kind": "sse", "path": "/transcribe/stream"},
        {"kind": "sse", "path": "/v1/audio/transcriptions"},
        {"kind": "sse", "path": "/openai/v1/audio/transcriptions"},
    ]
