"""The embedders that configs/bondhu.yaml names for other languages: their lines, and models of their shape.

Their weights (470 MB and 2.3 GB) are on a hub only, so these are as small as can be, with random weights: a BERT with
the kind of tokenizer that XLM-RoBERTa has and mean pooling, and an XLM-RoBERTa with the first token.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from models.embedding.text_model import UnsuitableModel, load
from serving.config.load import load_settings
from tests.models.embedding.test_text_models import TEXTS, cosines

ROOT = Path(__file__).resolve().parents[3]
LINE = re.compile(r"^# (embedder: \{.*?\})(?:  # ([\d,]+) MB; ([\d,]+) tokens)?$", re.MULTILINE)
WORDS = ("My parrot is called Kiwi", "Meine Schwester lebt in München", "Mi hermana vive en Málaga", "আমার বোন ঢাকায় থাকে")
NAMED: dict[str, dict[str, Any]] = {
    "minilm-multilingual": {"model_type": "bert", "max_position_embeddings": 512},
    "bge-m3": {"model_type": "xlm-roberta", "max_position_embeddings": 8194},
}
READS = {"minilm-multilingual": 128, "bge-m3": 8192}
WIDTH = 32


def lines() -> dict[str, tuple[dict[str, Any], int]]:
    """The commented lines by the model's id, with the tokens that it reads."""
    found = LINE.findall((ROOT / "configs/bondhu.yaml").read_text())
    documents = [(yaml.safe_load(line), int(tokens.replace(",", ""))) for line, _, tokens in found]
    return {document["embedder"]["id"]: (document, tokens) for document, tokens in documents}


@pytest.fixture(params=NAMED)
def shape(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Return the id of a named model, and the directory of a small one of its shape."""
    folder, name = tmp_path / request.param, request.param
    folder.mkdir()
    write(folder, NAMED[name], READS[name], "cls" if name == "bge-m3" else "mean")
    return name, folder


def write(folder: Path, config: dict[str, Any], reads: int, pooling: str) -> None:
    """A directory of sentence-transformers."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        WORDS, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    kinds = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    kinds |= {"unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    sizes |= {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 1,
    }
    sizes |= {"type_vocab_size": 2 if config["model_type"] == "bert" else 1}
    pools = {
        f"pooling_mode_{each}": each == f"{pooling}_token{'s' if pooling == 'mean' else ''}"
        for each in ("cls_token", "mean_tokens")
    }
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    documents: dict[str, Any] = {
        "config.json": config | sizes,
        "tokenizer_config.json": kinds | {"model_max_length": reads},
        "sentence_bert_config.json": {"max_seq_length": reads, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": WIDTH, **pools},
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(modules)
        ],
    }
    for name, document in documents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(document))
    from transformers import AutoConfig, AutoModel

    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)


def test_each_line_is_a_choice(tmp_path: Path) -> None:
    """Taken as it stands, without its sign of a comment, and nothing else."""
    chosen = lines()
    assert set(chosen) == set(NAMED)
    for name, (document, tokens) in chosen.items():
        text = (ROOT / "configs/bondhu.yaml").read_text()
        line = next(match[0] for match in LINE.finditer(text) if match[1].startswith(f"embedder: {{id: {name},"))
        root = tmp_path / name
        (root / "configs").mkdir(parents=True)
        for folder in ("models", "profiles", "personas", "templates"):
            (root / "configs" / folder).symlink_to(ROOT / "configs" / folder)
        (root / "configs/safety.yaml").symlink_to(ROOT / "configs/safety.yaml")
        (root / "models").symlink_to(ROOT / "models")
        (root / "configs/bondhu.yaml").write_text(text.replace(line, line.removeprefix("# ")))
        embedder = load_settings(environ={"BONDHU_ROOT": str(root)}).embedder
        assert (embedder.id, embedder.dimensions) == (name, document["embedder"]["dimensions"])
        assert tokens == READS[name]


@pytest.mark.slow
def test_models_of_their_shape_are_served(shape: tuple[str, Path]) -> None:
    """By onnxruntime with torch's vectors, or by torch, as `auto` chooses; with their window, tokens and pooling."""
    name, folder = shape
    torch, auto = (load(str(folder), runtime=runtime, threads=1) for runtime in ("torch", "auto"))
    if name == "bge-m3":
        with pytest.raises(UnsuitableModel, match="xlm-roberta"):
            load(str(folder), runtime="onnx", threads=1)
    else:
        assert type(auto) is not type(torch)
    assert (auto.window, list(auto.frame)) == (READS[name], [0, 2])
    made = auto.embed(TEXTS)
    assert made.shape == (len(TEXTS), WIDTH)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert cosines(made, torch.embed(TEXTS)).min() > 0.9999
    assert auto.lengths(TEXTS) == torch.lengths(TEXTS)
