"""Weights in whisper.cpp's format, converted once and kept beside the ones they were made from.

Its layout is that of whisper.cpp's models/convert-pt-to-ggml.py: a header, the mel
filters, the vocabulary, then every tensor; all numbers little-endian.
"""

import base64
import os
import struct
from pathlib import Path
from typing import BinaryIO

import torch
import whisper
from whisper.audio import mel_filters
from whisper.model import Whisper

from whisper_serve.engines.whisper.convert import as_openai_whisper

MAGIC = 0x67676D6C  # "ggml"
F32, F16 = 0, 1
SINGLE = (
    "encoder.conv1.bias",
    "encoder.conv2.bias",
    "encoder.positional_embedding",
    "decoder.positional_embedding",
)


def as_ggml(weights: Path) -> Path:
    """The path of a ggml file for a CTranslate2 folder, made where it is not there. Raises WeightsError."""
    file = weights.with_name(f"{weights.name}.ggml-f16.bin")
    if not file.exists():
        part = file.with_suffix(".part")
        with part.open("wb") as out:
            write(as_openai_whisper(weights), out)
        os.replace(part, file)
    return file


def write(model: Whisper, out: BinaryIO) -> None:
    dims = model.dims
    audio = (dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer)
    text = (dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer)
    put(out, MAGIC, dims.n_vocab, *audio, *text, dims.n_mels, F16)
    filters = mel_filters("cpu", dims.n_mels).numpy()
    put(out, *filters.shape)
    out.write(filters.astype("<f4").tobytes())
    tokens = vocabulary(model.is_multilingual)
    put(out, len(tokens))
    for token in tokens:
        put(out, len(token))
        out.write(token)
    for name, tensor in model.state_dict().items():
        write_tensor(name, tensor, out)


def write_tensor(name: str, tensor: torch.Tensor, out: BinaryIO) -> None:
    """Matrices in half precision; vectors, and what whisper.cpp adds to activations, in single."""
    data = tensor.float().numpy()
    if name in SINGLE[:2]:
        data = data.reshape(-1, 1)  # it is added to every frame
    half = tensor.dim() > 1 and name not in SINGLE
    put(out, data.ndim, len(name), F16 if half else F32, *data.shape[::-1])
    out.write(name.encode("ascii"))
    out.write(data.astype("<f2" if half else "<f4").tobytes())


def vocabulary(multilingual: bool) -> list[bytes]:
    """The words' bytes in the order of their numbers; special tokens whisper.cpp knows itself."""
    name = "multilingual" if multilingual else "gpt2"
    file = Path(whisper.__file__).parent / "assets" / f"{name}.tiktoken"
    lines = [line.split() for line in file.read_bytes().splitlines() if line]
    return [base64.b64decode(token) for token, _ in sorted(lines, key=lambda line: int(line[1]))]


def put(out: BinaryIO, *numbers: int) -> None:
    out.write(struct.pack(f"<{len(numbers)}i", *numbers))
