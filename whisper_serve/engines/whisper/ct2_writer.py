"""Writes an openai-whisper model as a CTranslate2 folder, as CTranslate2's own converter would."""

from pathlib import Path

import numpy as np
import torch
from ctranslate2.specs import WhisperSpec
from ctranslate2.specs.model_spec import index_spec
from torch import Tensor
from whisper.model import ModelDimensions

from whisper_serve.engines.whisper.ct2_layout import alignment_heads, layout, prompt_tokens_of
from whisper_serve.errors import WeightsError


def write_ctranslate2(
    state: dict[str, Tensor], dims: ModelDimensions, checkpoint: Path, folder: Path
) -> None:
    """The tensors of `checkpoint`, in float16, with vocabulary and config.json. Raises WeightsError, OSError."""
    spec = WhisperSpec(dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head)
    for variable, names in layout(dims):
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
    """Give the model its vocabulary and its config.json."""
    prompt = prompt_tokens_of(dims)
    tokenizer = prompt.tokenizer()
    if tokenizer.encoding.n_vocab != dims.n_vocab:
        raise WeightsError(f"{checkpoint} has {dims.n_vocab} tokens, which is no vocabulary of Whisper")
    characters = _byte_characters()
    spoken = (tokenizer.encoding.decode_single_token_bytes(token) for token in range(dims.n_vocab))
    spec.register_vocabulary(["".join(characters[byte] for byte in token) for token in spoken])
    spec.config.suppress_ids = prompt.suppressed()
    spec.config.suppress_ids_begin = [*tokenizer.encode(" "), tokenizer.eot]
    spec.config.lang_ids = sorted(tokenizer.all_language_tokens)
    spec.config.alignment_heads = np.argwhere(alignment_heads(checkpoint.stem, dims)).tolist()


def _byte_characters() -> list[str]:
    """The character that stands for each byte in the vocabulary files of GPT-2 and its heirs."""
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
