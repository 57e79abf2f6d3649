"""Reads a Whisper from a CTranslate2 folder: its tensors, dimensions and alignment heads.

The format of model.bin is what ctranslate2.specs.model_spec writes: a header, then for each
variable its name, shape, number type and bytes, little-endian. For a new
number type, a row in DTYPES.
"""

import json
import struct
from dataclasses import dataclass
from io import SEEK_CUR, BufferedReader
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from whisper.model import ModelDimensions

from whisper_serve.engines.whisper.ct2_layout import alignment_heads, dimensions, layout
from whisper_serve.errors import WeightsError

BINARY_VERSION = 6  # of model.bin
DTYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)  # by type id


@dataclass(frozen=True, slots=True)
class Variables:
    """A model by CTranslate2's names."""

    tensors: dict[str, Tensor]
    dims: ModelDimensions
    alignment_heads: NDArray[np.bool_]  # shape (decoder layers, heads): those that follow the words in time


def read_ctranslate2(folder: Path) -> Variables:
    """The model in a folder. Raises WeightsError."""
    tensors = read_variables(folder / "model.bin")
    try:
        dims = dimensions(tensors)
        heads = alignment_heads("", dims)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if pairs := config.get("alignment_heads"):
            heads[:] = False
            heads[tuple(zip(*pairs, strict=True))] = True
        missing = {variable for variable, _ in layout(dims)} - tensors.keys()
    except (OSError, ValueError, LookupError) as e:
        raise WeightsError(f"cannot read the CTranslate2 model in {folder}: {e!r}") from e
    if missing:
        raise WeightsError(f"the CTranslate2 model in {folder} lacks {min(missing)}")
    return Variables(tensors, dims, heads)


def read_variables(path: Path, under: str = "") -> dict[str, Tensor]:
    """The variables of the Whisper in the file at `path` whose names begin with `under`, on the CPU.

    Raises WeightsError where the file is damaged, quantized, or another kind of model.
    """
    try:
        with path.open("rb") as file:
            version, name = _number(file, "I"), _string(file)
            if (version, name) != (BINARY_VERSION, "WhisperSpec"):
                raise ValueError(
                    f"it is a {name}, version {version}; needed: WhisperSpec, version {BINARY_VERSION}"
                )
            _revision, count = _number(file, "I"), _number(file, "I")
            return dict(found for _ in range(count) if (found := _variable(file, under)))
    except (OSError, struct.error, ValueError, LookupError, RuntimeError) as e:
        raise WeightsError(f"cannot read {path}: {e}") from e


def _variable(file: BufferedReader, under: str) -> tuple[str, Tensor] | None:
    """The next one; None where its name begins otherwise."""
    name = _string(file)
    if name.endswith("_scale"):
        raise ValueError("it is quantized; needed: a float16 or float32 conversion")
    shape = [_number(file, "I") for _ in range(_number(file, "B"))]
    dtype = DTYPES[_number(file, "B")]
    size = _number(file, "I")
    if not name.startswith(under):
        file.seek(size, SEEK_CUR)
        return None
    data = bytearray(size)
    if file.readinto(data) != len(data):
        raise ValueError(f"it ends within {name}")
    return name, torch.frombuffer(data, dtype=dtype).reshape(shape)


def _number(file: BufferedReader, form: str) -> int:
    value: int = struct.unpack(f"<{form}", file.read(struct.calcsize(form)))[0]
    return value


def _string(file: BufferedReader) -> str:
    return file.read(_number(file, "H"))[:-1].decode()
