"""Calls of another company's Python SDK, whose name is given, to a service with a recording; prints one JSON object.

Each prints the transcript's text by call, in whatever way that SDK hands it out, and the SDK's version.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

name, url, path = sys.argv[1:]


def groq() -> dict[str, Any]:
    import groq

    client = groq.Groq(base_url=url, api_key="none")
    with open(path, "rb") as file:
        plain = client.audio.transcriptions.create(file=file, model="whisper-1")
    with open(path, "rb") as file:
        verbose = client.audio.transcriptions.create(
            file=file, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
        )
    with open(path, "rb") as file:
        translated = client.audio.translations.create(file=file, model="whisper-1")
    models = [model.id for model in client.models.list().data]
    assert "whisper-1" in models
    assert (verbose.model_extra or {})["words"]
    assert (plain.model_extra or {})["x_groq"]["id"]
    try:
        client.audio.transcriptions.create(file=("a.wav", b"no sound"), model="whisper-1")
    except groq.BadRequestError as e:
        refused = e.body["error"]["message"]
    return {"plain": plain.text, "verbose": verbose.text, "translated": translated.text, "refused": refused}


def mistralai() -> dict[str, Any]:
    from mistralai.client import Mistral

    client = Mistral(server_url=url, api_key="none")
    with open(path, "rb") as file:
        audio = {"content": file.read(), "file_name": "two seconds.wav"}
    whole = client.audio.transcriptions.complete(model="whisper-1", file=audio)
    with client.audio.transcriptions.stream(model="whisper-1", file=audio) as events:
        frames = [(event.event, event.data.raw) for event in events]
    assert (whole.model, whole.language) == ("whisper-1", "en")
    assert [kind for kind, _ in frames] == ["transcript.text.delta", "transcript.text.done"]
    return {"whole": whole.text, "delta": frames[0][1]["delta"], "done": frames[1][1]["text"]}


def together() -> dict[str, Any]:
    from together import Together

    client = Together(base_url=url, api_key="none")
    with open(path, "rb") as file:
        plain = client.audio.transcriptions.create(file=file, model="whisper-1")
    with open(path, "rb") as file:
        verbose = client.audio.transcriptions.create(
            file=file, model="whisper-1", response_format="verbose_json", timestamp_granularities="segment"
        )
    assert verbose.segments[0].text.strip() == verbose.text
    return {"plain": plain.text, "verbose": verbose.text}


def litellm() -> dict[str, Any]:
    import litellm

    with open(path, "rb") as file:
        plain = litellm.transcription(
            model="openai/whisper-1", file=file, api_base=f"{url}/v1", api_key="none"
        )
    with open(path, "rb") as file:
        verbose = litellm.transcription(
            model="openai/whisper-1",
            file=file,
            api_base=f"{url}/v1",
            api_key="none",
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
    assert verbose["duration"] == 2.0
    return {"plain": plain["text"], "verbose": verbose["text"]}


def langchain() -> dict[str, Any]:
    from imageio_ffmpeg import get_ffmpeg_exe
    from langchain_community.document_loaders.blob_loaders import Blob
    from langchain_community.document_loaders.parsers.audio import OpenAIWhisperParser
    from pydub import AudioSegment

    AudioSegment.converter = get_ffmpeg_exe()  # it writes the recording as MP3
    parser = OpenAIWhisperParser(api_key="none", base_url=f"{url}/v1")
    documents = list(parser.lazy_parse(Blob.from_path(path)))
    return {"plain": documents[0].page_content}


def llama_index() -> dict[str, Any]:
    from llama_index.readers.whisper import WhisperReader

    reader = WhisperReader(model="whisper-1", api_key="none", client_kwargs={"base_url": f"{url}/v1"})
    return {"plain": reader.load_data(path)[0].text}


SDKS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {  # and the package whose version counts
    "groq": ("groq", groq),
    "mistralai": ("mistralai", mistralai),
    "together": ("together", together),
    "litellm": ("litellm", litellm),
    "langchain": ("langchain-community", langchain),
    "llama_index": ("llama-index-readers-whisper", llama_index),
}

package, call = SDKS[name]
print(json.dumps({"version": version(package), "texts": call()}))
