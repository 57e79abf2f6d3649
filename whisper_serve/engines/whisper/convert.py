"""Converts weights between the formats of openai-whisper (a `.pt` checkpoint) and CTranslate2 (a folder).

Both hold the same tensors under other names; see ct2_layout.py.
"""

import os
import pickle
import shutil
import zlib
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor
from whisper.model import ModelDimensions, Whisper

from whisper_serve.engines.whisper.ct2_layout import alignment_heads, layout
from whisper_serve.engines.whisper.ct2_reader import read_ctranslate2
from whisper_serve.engines.whisper.ct2_writer import write_ctranslate2
from whisper_serve.errors import WeightsError

MARK = "converted.txt"  # in a converted folder: checksums of what it was made from and of what was written


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
        heads = alignment_heads(weights.stem, dims)
    whisper_model = Whisper(dims)
    try:
        whisper_model.load_state_dict(state, strict=True)
    except RuntimeError as e:
        raise WeightsError(f"the tensors in {weights} do not make a Whisper: {e}") from e
    whisper_model.register_buffer("alignment_heads", torch.from_numpy(heads).to_sparse(), persistent=False)
    return whisper_model


def _convert(checkpoint: Path, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
    try:
        part.mkdir()
        write_ctranslate2(*_load_checkpoint(checkpoint), checkpoint, part)
        (part / MARK).write_text(_mark(checkpoint, part), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _load_checkpoint(path: Path) -> tuple[dict[str, Tensor], ModelDimensions]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint["model_state_dict"], ModelDimensions(**checkpoint["dims"])
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as e:
        raise WeightsError(f"{path} is no openai-whisper checkpoint: {e}") from e


def _renamed(variables: dict[str, Tensor], dims: ModelDimensions) -> dict[str, Tensor]:
    """openai-whisper's tensors by its names."""
    state: dict[str, Tensor] = {}
    for variable, names in layout(dims):
        state.update(zip(names, variables[variable].chunk(len(names)), strict=True))
    return {name: tensor for name, tensor in state.items() if not name.endswith(".key.bias")}


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
