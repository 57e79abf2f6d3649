import json
from dataclasses import asdict
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
import torch
import whisper
from numpy.typing import NDArray
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

from loadtest.common import speech
from whisper_serve.audio.decode import decode
from whisper_serve.engines.whisper.convert import as_ctranslate2, as_openai_whisper
from whisper_serve.errors import WeightsError
from whisper_serve.weights.download import fetch

MODELS = speech.ROOT / "models"
JFK = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)


@pytest.fixture(autouse=True)
def two_threads_and_one_seed() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def mel() -> NDArray[np.float32]:
    """The log-mel spectrogram of the speech of 1961: shape (80, 3000)."""
    samples = decode(speech.jfk().read_bytes(), max_seconds=30).samples
    spectrogram: NDArray[np.float32] = whisper.log_mel_spectrogram(whisper.pad_or_trim(samples)).numpy()
    return spectrogram


@pytest.fixture(scope="module")
def base() -> Path:
    """The base model as CTranslate2 folder, whatever form its source has."""
    weights = fetch("base", MODELS)
    return weights if weights.is_dir() else as_ctranslate2(weights, MODELS / "base-ct2")


def words(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalpha() or c == " ").strip()


def text_by_ctranslate2(folder: Path, mel: NDArray[np.float32], compute_type: str) -> str:
    model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type=compute_type, intra_threads=2)
    tokenizer = get_tokenizer(model.is_multilingual, language="en", task="transcribe")
    prompt = list(tokenizer.sot_sequence_including_notimestamps)
    features = ctranslate2.StorageView.from_array(mel[None])
    (result,) = model.generate(features, [prompt], beam_size=1)
    assert tokenizer.encoding.decode_tokens_bytes(result.sequences_ids[0]) == spelled(result.sequences[0])
    return words(tokenizer.decode(result.sequences_ids[0]))


def spelled(tokens: list[str]) -> list[bytes]:
    """The bytes of CTranslate2's tokens, as far as they are English."""
    return [token.replace("Ġ", " ").encode() for token in tokens]


def text_by_openai_whisper(model: Whisper, mel: NDArray[np.float32]) -> str:
    options = whisper.DecodingOptions(language="en", fp16=False, without_timestamps=True)
    return words(whisper.decode(model, torch.from_numpy(mel), options).text)


def test_the_official_tiny_en_gives_the_same_text_in_both_engines(
    mel: NDArray[np.float32], tmp_path: Path
) -> None:
    checkpoint = fetch("tiny.en", MODELS)
    folder = as_ctranslate2(checkpoint, tmp_path / "tiny.en-ct2")
    assert text_by_ctranslate2(folder, mel, "int8") == JFK
    assert text_by_openai_whisper(as_openai_whisper(checkpoint), mel) == JFK


def test_the_base_model_in_ctranslate2s_form_gives_the_same_text_in_both_engines(
    base: Path, mel: NDArray[np.float32]
) -> None:
    assert text_by_ctranslate2(base, mel, "int8") == JFK
    assert text_by_openai_whisper(as_openai_whisper(base), mel) == JFK


def test_config_and_vocabulary_are_those_of_ctranslate2s_own_converter(base: Path, tmp_path: Path) -> None:
    if not (base / "vocabulary.txt").exists():
        pytest.skip("base came as the official checkpoint: there is no other conversion to compare with")
    model = as_openai_whisper(base)
    checkpoint = save(model, tmp_path / "base.pt")
    ours = as_ctranslate2(checkpoint, tmp_path / "ours")
    assert json.loads((ours / "config.json").read_text()) == json.loads((base / "config.json").read_text())
    theirs = (base / "vocabulary.txt").read_text("utf-8").split("\n")[: model.dims.n_vocab]
    assert [t.replace("<|nocaptions|>", "<|nospeech|>") for t in theirs] == json.loads(
        (ours / "vocabulary.json").read_text()
    )
    known = whisper._ALIGNMENT_HEADS["base"]
    heads = model.alignment_heads.to_dense()
    model.set_alignment_heads(known)
    assert torch.equal(heads, model.alignment_heads.to_dense())


# Vocabularies of English models, of large-v3, and of the other multilingual ones.
@pytest.mark.parametrize(("n_vocab", "n_mels"), [(51864, 80), (51865, 80), (51866, 128)])
def test_a_model_of_any_size_gives_the_same_numbers_after_conversion(
    n_vocab: int, n_mels: int, tmp_path: Path
) -> None:
    model = odd_model(n_vocab, n_mels)
    folder = as_ctranslate2(save(model, tmp_path / "odd.pt"), tmp_path / "odd-ct2")
    back = as_openai_whisper(folder)
    assert back.dims == model.dims
    for name, tensor in model.half().float().state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name

    converted = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="float32", intra_threads=1)
    assert (converted.n_mels, converted.is_multilingual) == (n_mels, n_vocab > 51864)
    mel = torch.randn(1, n_mels, 2 * model.dims.n_audio_ctx)
    features = ctranslate2.StorageView.from_array(mel.numpy())
    with torch.no_grad():
        expected = back.encoder(mel)
        np.testing.assert_allclose(np.array(converted.encode(features, to_cpu=True)), expected, atol=1e-4)
        tokenizer = get_tokenizer(back.is_multilingual, num_languages=back.num_languages)
        prompt = [tokenizer.sot, tokenizer.no_timestamps]
        logits = back.logits(torch.tensor([prompt]), expected)[0, -1].numpy()
    (result,) = converted.generate(
        features, [prompt], beam_size=1, max_length=3, return_logits_vocab=True, suppress_tokens=[],
        suppress_blank=False,
    )  # fmt: skip
    np.testing.assert_allclose(np.array(result.logits[0][0]), logits, atol=1e-3)


def test_a_conversion_is_done_once_and_again_where_a_file_has_changed(tmp_path: Path) -> None:
    checkpoint = save(odd_model(51864, 80), tmp_path / "odd.pt")
    folder = as_ctranslate2(checkpoint, tmp_path / "odd-ct2")
    good, made = (folder / "model.bin").read_bytes(), (folder / "model.bin").stat().st_ino
    assert (as_ctranslate2(checkpoint, folder) / "model.bin").stat().st_ino == made

    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 1
    (folder / "model.bin").write_bytes(damaged)
    assert (as_ctranslate2(checkpoint, folder) / "model.bin").read_bytes() == good

    save(odd_model(51864, 80), checkpoint)
    assert (as_ctranslate2(checkpoint, folder) / "model.bin").read_bytes() != good


def test_a_conversion_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "odd-ct2.part").mkdir()
    (tmp_path / "odd-ct2.part" / "model.bin").write_bytes(b"half")
    folder = as_ctranslate2(save(odd_model(51864, 80), tmp_path / "odd.pt"), tmp_path / "odd-ct2")
    as_openai_whisper(folder)
    assert not (tmp_path / "odd-ct2.part").exists()


def test_alignment_heads_of_an_unknown_model_are_those_of_the_later_layers(tmp_path: Path) -> None:
    folder = as_ctranslate2(save(odd_model(51864, 80), tmp_path / "odd.pt"), tmp_path / "odd-ct2")
    assert json.loads((folder / "config.json").read_text())["alignment_heads"] == [[1, 0], [1, 1], [1, 2]]
    assert as_openai_whisper(folder).alignment_heads.to_dense().tolist() == [[False] * 3, [True] * 3]


def test_a_folder_that_names_no_alignment_heads_is_given_those_of_the_later_layers(tmp_path: Path) -> None:
    folder = as_ctranslate2(save(odd_model(51864, 80), tmp_path / "odd.pt"), tmp_path / "odd-ct2")
    (folder / "config.json").write_text("{}")
    assert as_openai_whisper(folder).alignment_heads.to_dense().tolist() == [[False] * 3, [True] * 3]


def test_a_quantized_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = as_ctranslate2(save(odd_model(51864, 80), tmp_path / "odd.pt"), tmp_path / "odd-ct2")
    data = (folder / "model.bin").read_bytes()
    name, quantized = b"decoder/embeddings/weight\0", b"decoder/embed/weight_scale\0"
    renamed = data.replace(b"\x1a\0" + name, b"\x1b\0" + quantized, 1)
    (folder / "model.bin").write_bytes(renamed)
    with pytest.raises(WeightsError, match=r"model\.bin: it is quantized; needed: a float16"):
        as_openai_whisper(folder)


@pytest.mark.parametrize("length", [0, 3, 20, 1000, -1000])
def test_a_cut_model_bin_is_refused(length: int, tmp_path: Path) -> None:
    folder = as_ctranslate2(save(odd_model(51864, 80), tmp_path / "odd.pt"), tmp_path / "odd-ct2")
    data = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(data[:length])
    with pytest.raises(WeightsError, match=r"cannot read .*model\.bin: "):
        as_openai_whisper(folder)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.pt").write_bytes(b"noise")
    with pytest.raises(WeightsError, match="is no openai-whisper checkpoint"):
        as_ctranslate2(tmp_path / "noise.pt", tmp_path / "folder")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="is no openai-whisper checkpoint"):
        as_openai_whisper(tmp_path / "other.pt")
    assert not (tmp_path / "folder").exists()


def odd_model(n_vocab: int, n_mels: int) -> Whisper:
    """A small Whisper with random weights, and another width or depth wherever it may have one."""
    dims = ModelDimensions(
        n_mels=n_mels, n_audio_ctx=30, n_audio_state=36, n_audio_head=2, n_audio_layer=3,
        n_vocab=n_vocab, n_text_ctx=20, n_text_state=36, n_text_head=3, n_text_layer=2,
    )  # fmt: skip
    model = Whisper(dims).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def save(model: Whisper, path: Path) -> Path:
    torch.save({"dims": asdict(model.dims), "model_state_dict": model.state_dict()}, path)
    return path
