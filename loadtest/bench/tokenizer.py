"""tokenizer.json, which faster-whisper wants beside a CTranslate2 model and else fetches from the Hugging Face hub.

A checkpoint that was converted here has only the list of tokens. It is that of
a byte-level BPE: a token's place is its rank, and its merge follows from the ranks.
"""

import json
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

NAME, TOKENS = "tokenizer.json", "vocabulary.json"
END, LAST = "<|endoftext|>", "<|notimestamps|>"  # the first special token, and the last before the timestamps


def with_tokenizer(weights: Path) -> Path:
    """A CTranslate2 folder that has a tokenizer: this one, or one beside it of links and the tokenizer."""
    if (weights / NAME).is_file():
        return weights
    folder = weights.with_name(f"{weights.name}.faster-whisper")
    folder.mkdir(exist_ok=True)
    tokens: list[str] = json.loads((weights / TOKENS).read_text(encoding="utf-8"))
    tokenizer_of(tokens).save(str(folder / NAME))
    for file in weights.iterdir():
        link = folder / file.name
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    return folder


def tokenizer_of(tokens: list[str]) -> Tokenizer:
    ranks = {token: rank for rank, token in enumerate(tokens[: tokens.index(END)])}
    tokenizer = Tokenizer(BPE(ranks, [_merge(token, ranks) for token in ranks if len(token) > 1]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = Decoder()
    tokenizer.add_special_tokens(tokens[tokens.index(END) : tokens.index(LAST) + 1])
    return tokenizer


def _merge(token: str, ranks: dict[str, int]) -> tuple[str, str]:
    """The two parts that are the last to be joined, when pairs join by their rank."""
    parts = list(token)
    while len(parts) > 2:
        pairs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
        at = pairs.index(min(pairs))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]
