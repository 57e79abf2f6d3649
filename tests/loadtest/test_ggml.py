"""whisper.cpp's weights, as the bench writes them."""

import io
import struct

import numpy as np
from whisper.model import ModelDimensions, Whisper

from loadtest.bench.ggml import vocabulary, write


def test_whisper_cpps_file_has_a_header_filters_all_words_and_all_tensors() -> None:
    dims = ModelDimensions(80, 10, 8, 2, 1, 51865, 6, 8, 2, 1)
    model, file = Whisper(dims), io.BytesIO()
    write(model, file)
    file.seek(0)

    def numbers(amount: int) -> tuple[int, ...]:
        return struct.unpack(f"<{amount}i", file.read(4 * amount))

    assert numbers(12) == (0x67676D6C, 51865, 10, 8, 2, 1, 6, 8, 2, 1, 80, 1)
    assert numbers(2) == (80, 201)
    file.seek(80 * 201 * 4, io.SEEK_CUR)
    words = [file.read(*numbers(1)) for _ in range(*numbers(1))]
    assert words == vocabulary(multilingual=True)
    assert len(words) == 50257
    tensors = {}
    while header := file.read(12):
        n_dims, length, half = struct.unpack("<3i", header)
        shape, name = numbers(n_dims)[::-1], file.read(length).decode()
        tensors[name] = shape
        file.seek(int(np.prod(shape)) * (2 if half else 4), io.SEEK_CUR)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    expected |= {f"encoder.conv{n}.bias": (8, 1) for n in (1, 2)}
    assert tensors == expected
