"""A CTranslate2 model.bin in, its variables as torch tensors out.

The format is what ctranslate2.specs.model_spec writes: a header, then for each
variable its name, shape, number type and bytes, little-endian. For a new
number type, a row in DTYPES.
"""

import struct
from io import SEEK_CUR, BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from whisper_serve.errors import WeightsError

BINARY_VERSION = 6  # of model.bin
DTYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)  # by type id


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
