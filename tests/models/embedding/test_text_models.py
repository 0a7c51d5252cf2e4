"""Embedding models: onnxruntime makes the vectors of sentence-transformers; what it cannot serve runs on torch."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.embedding.onnx_model import OnnxTextModel
from models.embedding.text_model import PACKAGE, Matrix, UnsuitableModel, load, located

# What sentence-transformers made of TEXTS (`python -m tests.models.embedding.test_text_models`).
REFERENCE = Path(__file__).with_name("reference.npy")
TEXTS = (
    "x",
    "Hi!",
    "My parrot is called Kiwi.",
    "I went to the market with my sister yesterday and bought some mangoes.",
    "user: We made a lassi.\nassistant: That sounds lovely; did she like it?\nuser: She told me of her job in Porto.",
    "আমার বোন ঢাকায় থাকে",
    "Meine Schwester lebt in München, 80331.",
    "🙂 naïve café — “quotes” and\ttabs",
    " ".join(f"Sentence number {number} of a long turn." for number in range(60)),  # more than the model reads
)


@pytest.fixture(scope="module")
def model() -> OnnxTextModel:
    """Return MiniLM."""
    return OnnxTextModel(Path(located(PACKAGE)), threads=1)


def test_vectors_agree_with_those_of_sentence_transformers(model: OnnxTextModel) -> None:
    """Of short and long texts, in several scripts, and of one that is longer than the window."""
    made = model.embed(TEXTS)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert cosines(made, np.load(REFERENCE).astype(np.float32)).min() > 0.9999
    assert max(model.lengths(TEXTS)) > model.window


def test_texts_do_not_change_each_other(model: OnnxTextModel) -> None:
    """Each has the vector that it has alone, in the order of the texts; none is an empty matrix."""
    together = model.embed([*TEXTS, *reversed(TEXTS)])
    alone = np.concatenate([model.embed([text]) for text in TEXTS])
    assert np.allclose(together[: len(TEXTS)], alone, atol=1e-5)
    assert np.allclose(together[len(TEXTS) :], alone[::-1], atol=1e-5)
    assert model.embed([]).shape == (0, 384)


def test_the_tokenizer_is_the_models(model: OnnxTextModel) -> None:
    """Ids are framed by special tokens, and are decoded without them."""
    assert list(model.frame) == [101, 102]
    assert model.vocabulary == 30522
    assert model.lengths(["Hello world", ""]) == [4, 2]
    assert model.decode([101, 7592, 2088, 102]) == "hello world"


@pytest.mark.parametrize(
    ("file", "changes", "why"),
    [
        ("config.json", {"model_type": "mpnet"}, "mpnet"),
        ("config.json", {"hidden_act": "relu"}, "relu"),
        ("config.json", {"position_embedding_type": "relative_key"}, "positions"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "prompt"),
        ("modules.json", None, "no directory"),
        ("tokenizer.json", None, "tokenizer.json"),
    ],
)
def test_what_onnxruntime_cannot_serve_is_refused(
    tmp_path: Path, file: str, changes: dict[str, Any] | None, why: str
) -> None:
    """Named with its reason; `auto` takes torch then."""
    folder = tmp_path / "model"
    shutil.copytree(located(PACKAGE), folder, copy_function=_link)
    if changes is None:
        (folder / file).unlink()
    else:
        changed = json.loads((folder / file).read_text()) | changes
        (folder / file).unlink()
        (folder / file).write_text(json.dumps(changed))
    with pytest.raises(UnsuitableModel, match=why):
        load(str(folder), runtime="onnx", threads=1)


@pytest.mark.slow
def test_torch_and_onnxruntime_make_the_same_vectors() -> None:
    """And count the same tokens."""
    torch, onnx = (load(PACKAGE, runtime=runtime, threads=1) for runtime in ("torch", "onnx"))
    assert cosines(torch.embed(TEXTS), onnx.embed(TEXTS)).min() > 0.9999
    assert torch.lengths(TEXTS) == onnx.lengths(TEXTS)
    assert (torch.window, torch.vocabulary, list(torch.frame)) == (onnx.window, onnx.vocabulary, list(onnx.frame))


def cosines(one: Matrix, other: Matrix) -> Matrix:
    """The cosine of each pair of rows."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: Matrix = (one * other).sum(axis=1) / lengths
    return found


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)


if __name__ == "__main__":
    np.save(REFERENCE, load(PACKAGE, runtime="torch", threads=1).embed(TEXTS).astype(np.float16))
