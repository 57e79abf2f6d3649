"""A Whisper model in one format in, the same model in the other out.

openai-whisper keeps a `.pt` checkpoint, CTranslate2 a folder with a model.bin.
Both hold the same tensors under other names: CTranslate2 stacks the query, key
and value projections of self-attention, and the key and value projections of
cross-attention, and gives keys a bias of zeros. Where a release of either
names something anew, change the tables below: both directions read them.
"""

import base64
import gzip
import json
import os
import pickle
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import whisper
from ctranslate2.specs import WhisperSpec
from ctranslate2.specs.model_spec import index_spec
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor
from whisper.model import ModelDimensions, Whisper

from whisper_serve.engines.whisper.ct2_reader import read_variables
from whisper_serve.engines.whisper.prompt import Vocabulary
from whisper_serve.errors import WeightsError

MARK = "converted.txt"  # in a converted folder: checksums of what it was made from and of what was written

# CTranslate2's module -> openai-whisper's modules stacked in it.
STEM = {
    "encoder/conv1": ("encoder.conv1",),
    "encoder/conv2": ("encoder.conv2",),
    "encoder/layer_norm": ("encoder.ln_post",),
    "decoder/layer_norm": ("decoder.ln",),
}
BLOCK = {
    "self_attention/layer_norm": ("attn_ln",),
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "self_attention/linear_1": ("attn.out",),
    "ffn/layer_norm": ("mlp_ln",),
    "ffn/linear_0": ("mlp.0",),
    "ffn/linear_1": ("mlp.2",),
}
DECODER_BLOCK = BLOCK | {
    "attention/layer_norm": ("cross_attn_ln",),
    "attention/linear_0": ("cross_attn.query",),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
    "attention/linear_2": ("cross_attn.out",),
}
SINGLE = {
    "encoder/position_encodings/encodings": "encoder.positional_embedding",
    "decoder/position_encodings/encodings": "decoder.positional_embedding",
    "decoder/embeddings/weight": "decoder.token_embedding.weight",
}


@dataclass(frozen=True, slots=True)
class Variables:
    """A model by CTranslate2's names."""

    tensors: dict[str, Tensor]
    dims: ModelDimensions
    alignment_heads: NDArray[np.bool_]  # shape (decoder layers, heads): those that follow the words in time


def ctranslate2_folder(weights: Path | None, engine: str) -> Path:
    """The weights as a CTranslate2 folder: they are one, or are converted once beside themselves. Raises WeightsError."""
    if weights is None:
        raise WeightsError(f"the engine {engine!r} needs a model")
    return weights if weights.is_dir() else as_ctranslate2(weights, weights.with_suffix(".ctranslate2"))


def as_ctranslate2(checkpoint: Path, folder: Path) -> Path:
    """`folder`, holding the openai-whisper checkpoint in CTranslate2's form, with float16 tensors.

    Converted once, by one process, and again only where the checkpoint or the folder has changed.
    Raises WeightsError where the checkpoint cannot be read or the folder not be written.
    """
    try:
        if not _is_made_from(checkpoint, folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f".{folder.name}.lock")):
                if not _is_made_from(checkpoint, folder):  # by another process, meanwhile
                    _convert(checkpoint, folder)
    except OSError as e:
        raise WeightsError(f"cannot convert {checkpoint} into {folder}: {e}") from e
    return folder


def as_openai_whisper(weights: Path) -> Whisper:
    """openai-whisper's model on the CPU in float32, from a CTranslate2 folder or from a checkpoint.

    Its alignment heads are set. Raises WeightsError where the weights cannot be read or are quantized.
    """
    if weights.is_dir():
        model = read_ctranslate2(weights)
        state, dims, heads = _renamed(model.tensors, model.dims), model.dims, model.alignment_heads
    else:
        state, dims = _load_checkpoint(weights)
        heads = _alignment_heads(weights.stem, dims)
    whisper_model = Whisper(dims)
    try:
        whisper_model.load_state_dict(state, strict=True)
    except RuntimeError as e:
        raise WeightsError(f"the tensors in {weights} do not make a Whisper: {e}") from e
    whisper_model.register_buffer("alignment_heads", torch.from_numpy(heads).to_sparse(), persistent=False)
    return whisper_model


def read_ctranslate2(folder: Path) -> Variables:
    """The model in a folder. Raises WeightsError."""
    tensors = read_variables(folder / "model.bin")
    try:
        dims = _dimensions(tensors)
        heads = _alignment_heads("", dims)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if pairs := config.get("alignment_heads"):
            heads[:] = False
            heads[tuple(zip(*pairs, strict=True))] = True
        missing = {variable for variable, _ in _layout(dims)} - tensors.keys()
    except (OSError, ValueError, LookupError) as e:
        raise WeightsError(f"cannot read the CTranslate2 model in {folder}: {e!r}") from e
    if missing:
        raise WeightsError(f"the CTranslate2 model in {folder} lacks {min(missing)}")
    return Variables(tensors, dims, heads)


def _convert(checkpoint: Path, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
    try:
        part.mkdir()
        _write_ctranslate2(checkpoint, part)
        (part / MARK).write_text(_mark(checkpoint, part), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _layout(dims: ModelDimensions) -> Iterator[tuple[str, tuple[str, ...]]]:
    """CTranslate2's variable, and openai-whisper's tensors stacked in it along their first axis."""
    modules: dict[str, tuple[str, ...]] = dict(STEM)
    for side, layers, block in (
        ("encoder", dims.n_audio_layer, BLOCK),
        ("decoder", dims.n_text_layer, DECODER_BLOCK),
    ):
        for i in range(layers):
            for module, parts in block.items():
                modules[f"{side}/layer_{i}/{module}"] = tuple(f"{side}.blocks.{i}.{part}" for part in parts)
    for module, parts in modules.items():
        weight, bias = ("gamma", "beta") if module.endswith("layer_norm") else ("weight", "bias")
        yield f"{module}/{weight}", tuple(f"{part}.weight" for part in parts)
        yield f"{module}/{bias}", tuple(f"{part}.bias" for part in parts)
    for variable, tensor in SINGLE.items():
        yield variable, (tensor,)


def _load_checkpoint(path: Path) -> tuple[dict[str, Tensor], ModelDimensions]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint["model_state_dict"], ModelDimensions(**checkpoint["dims"])
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as e:
        raise WeightsError(f"{path} is no openai-whisper checkpoint: {e}") from e


def _write_ctranslate2(checkpoint: Path, folder: Path) -> None:
    state, dims = _load_checkpoint(checkpoint)
    spec = WhisperSpec(dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head)
    for variable, names in _layout(dims):
        module, _, field = variable.rpartition("/")
        try:
            tensors = [_tensor(state, name) for name in names]
        except KeyError as e:
            raise WeightsError(f"{checkpoint} lacks the tensor {e}") from e
        setattr(index_spec(spec, module), field, torch.cat(tensors).half().numpy())
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    _describe(spec, dims, checkpoint)
    spec.validate()
    spec.optimize("float16")
    spec.save(str(folder))


def _tensor(state: dict[str, Tensor], name: str) -> Tensor:
    if name.endswith(".key.bias"):
        return torch.zeros(len(state[name.replace(".bias", ".weight")]))
    return state[name]


def _describe(spec: WhisperSpec, dims: ModelDimensions, checkpoint: Path) -> None:
    """Give the model its vocabulary and its config.json, as CTranslate2's own converter would."""
    vocabulary = vocabulary_of(dims)
    tokenizer = vocabulary.tokenizer()
    if tokenizer.encoding.n_vocab != dims.n_vocab:
        raise WeightsError(f"{checkpoint} has {dims.n_vocab} tokens, which is no vocabulary of Whisper")
    characters = _byte_characters()
    spoken = (tokenizer.encoding.decode_single_token_bytes(token) for token in range(dims.n_vocab))
    spec.register_vocabulary(["".join(characters[byte] for byte in token) for token in spoken])
    spec.config.suppress_ids = vocabulary.suppressed()
    spec.config.suppress_ids_begin = [*tokenizer.encode(" "), tokenizer.eot]
    spec.config.lang_ids = sorted(tokenizer.all_language_tokens)
    spec.config.alignment_heads = np.argwhere(_alignment_heads(checkpoint.stem, dims)).tolist()


def _byte_characters() -> list[str]:
    """The character that stands for each byte in the vocabulary files of GPT-2 and its heirs."""
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _alignment_heads(name: str, dims: ModelDimensions) -> NDArray[np.bool_]:
    """Which decoder heads follow the audio: bool, shape (n_text_layer, n_text_head). Unknown: the later half."""
    heads = np.zeros((dims.n_text_layer, dims.n_text_head), dtype=bool)
    heads[dims.n_text_layer // 2 :] = True
    if name in whisper._ALIGNMENT_HEADS:
        known = np.frombuffer(gzip.decompress(base64.b85decode(whisper._ALIGNMENT_HEADS[name])), dtype=bool)
        if known.size == heads.size:
            heads = known.reshape(heads.shape).copy()
    return heads


def vocabulary_of(dims: ModelDimensions) -> Vocabulary:
    """As openai-whisper tells it, by the number of tokens."""
    multilingual = dims.n_vocab >= 51865
    return Vocabulary(multilingual, dims.n_vocab - 51765 - int(multilingual))


def _renamed(variables: dict[str, Tensor], dims: ModelDimensions) -> dict[str, Tensor]:
    """openai-whisper's tensors by its names."""
    state: dict[str, Tensor] = {}
    for variable, names in _layout(dims):
        state.update(zip(names, variables[variable].chunk(len(names)), strict=True))
    return {name: tensor for name, tensor in state.items() if not name.endswith(".key.bias")}


def _dimensions(variables: dict[str, Tensor]) -> ModelDimensions:
    n_audio_state, n_mels, _ = variables["encoder/conv1/weight"].shape
    n_audio_ctx, _ = variables["encoder/position_encodings/encodings"].shape
    n_text_ctx, _ = variables["decoder/position_encodings/encodings"].shape
    n_vocab, n_text_state = variables["decoder/embeddings/weight"].shape
    return ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=n_audio_ctx,
        n_audio_state=n_audio_state,
        n_audio_head=int(variables["encoder/num_heads"]),
        n_audio_layer=_layers(variables, "encoder"),
        n_vocab=n_vocab,
        n_text_ctx=n_text_ctx,
        n_text_state=n_text_state,
        n_text_head=int(variables["decoder/num_heads"]),
        n_text_layer=_layers(variables, "decoder"),
    )


def _layers(variables: dict[str, Tensor], side: str) -> int:
    return sum(
        name.startswith(f"{side}/layer_") and name.endswith("/ffn/linear_0/weight") for name in variables
    )


def _is_made_from(checkpoint: Path, folder: Path) -> bool:
    mark = folder / MARK
    return mark.is_file() and mark.read_text(encoding="utf-8") == _mark(checkpoint, folder)


def _mark(checkpoint: Path, folder: Path) -> str:
    files = [checkpoint, *sorted(file for file in folder.iterdir() if file.name != MARK)]
    return "".join(f"{_checksum(file):08x} {file.name}\n" for file in files)


def _checksum(path: Path) -> int:
    """CRC-32: against damage and change, not against malice."""
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
