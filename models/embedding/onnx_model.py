"""An embedding model on onnxruntime: BERT encoders with mean or first-token pooling, on a CPU, without torch.

The graph is made from the model's directory when it is loaded (`models.embedding.bert_graph`). Texts of the same number
of tokens go through it together, and none is filled up.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.embedding.text_model import Matrix, UnsuitableModel

PASS_TOKENS = 1024  # tokens of all texts in one pass
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
STEPS = ("Transformer", "Pooling", "Normalize")


class OnnxTextModel:
    """See `models.embedding.text_model.TextModel`.

    Args:
        folder: a directory of sentence-transformers with `model.safetensors` and `tokenizer.json`.
        threads: of onnxruntime.

    Raises UnsuitableModel.

    """

    def __init__(self, folder: Path, *, threads: int) -> None:
        config = _checked(folder)
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.frame: Sequence[int] = self._tokenizer.encode("").ids
        self.vocabulary = int(self._tokenizer.get_vocab_size())
        self.window = _window(folder, config)
        self._pooling = _pooling(folder)
        weights = {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}
        self._words = weights["embeddings.word_embeddings.weight"].astype(np.float32)
        places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._places = places.astype(np.float32)
        self._session = _session(weights, config, threads=threads)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text."""
        return [len(each.ids) for each in self._tokenizer.encode_batch_fast(list(texts))]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def embed(self, texts: Sequence[str]) -> Matrix:
        """A unit vector for each text."""
        by_length: dict[int, list[int]] = defaultdict(list)
        tokens = [self._cut(each.ids) for each in self._tokenizer.encode_batch_fast(list(texts))]
        for row, ids in enumerate(tokens):
            by_length[len(ids)].append(row)
        matrix = np.empty((len(texts), self._words.shape[1]), dtype="<f4")
        for length, rows in by_length.items():
            at_once = max(1, PASS_TOKENS // length)
            for first in range(0, len(rows), at_once):
                some = rows[first : first + at_once]
                matrix[some] = self._pass(np.array([tokens[row] for row in some]))
        return matrix

    def _cut(self, ids: list[int]) -> list[int]:
        return ids if len(ids) <= self.window else [*ids[: self.window - 1], ids[-1]]

    def _pass(self, ids: np.ndarray[Any, np.dtype[np.int64]]) -> Matrix:
        embedded = self._words[ids] + self._places[: ids.shape[1]]
        (hidden,) = self._session.run(None, {"embedded": embedded})
        pooled = hidden.mean(axis=1) if self._pooling == "mean" else hidden[:, 0]
        unit: Matrix = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit


def _session(weights: dict[str, Any], config: dict[str, Any], *, threads: int) -> Any:
    try:
        import onnxruntime

        from models.embedding.bert_graph import Shape, encoder
    except ModuleNotFoundError as problem:  # it is installed with the CPU's extra
        raise UnsuitableModel(f"{problem.name} is not installed") from problem

    shape = Shape(
        config["num_hidden_layers"], config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"]
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # it keeps something for each length that comes
    options.enable_mem_pattern = False
    graph = encoder(weights, shape)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _checked(folder: Path) -> dict[str, Any]:
    """The model's configuration, if this module serves such a model."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
        steps = [each["type"].rpartition(".")[2] for each in json.loads((folder / "modules.json").read_bytes())]
    except OSError as problem:
        raise UnsuitableModel(f"it is no directory of sentence-transformers ({problem})") from problem
    if not all((folder / name).is_file() for name in ("model.safetensors", "tokenizer.json")):
        raise UnsuitableModel("it has no model.safetensors or no tokenizer.json")
    if config["model_type"] != "bert" or config.get("hidden_act") != "gelu":
        raise UnsuitableModel(f"it is a {config['model_type']} model with {config.get('hidden_act')}, not a BERT")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UnsuitableModel("its positions are not absolute")
    prompts = folder / "config_sentence_transformers.json"
    if prompts.is_file() and json.loads(prompts.read_bytes()).get("default_prompt_name"):
        raise UnsuitableModel("it puts a prompt before every text")
    if tuple(steps) not in (STEPS, STEPS[:2]):
        raise UnsuitableModel(f"its steps are {', '.join(steps)}")
    return config


def _window(folder: Path, config: dict[str, Any]) -> int:
    named = json.loads((folder / "sentence_bert_config.json").read_bytes()).get("max_seq_length")
    return min(int(named or 512), int(config["max_position_embeddings"]))


def _pooling(folder: Path) -> str:
    chosen: dict[str, Any] = json.loads((folder / "1_Pooling/config.json").read_bytes())
    modes = [name for name, is_on in chosen.items() if name.startswith("pooling_mode_") and is_on]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise UnsuitableModel(f"its pooling is {', '.join(modes)}")
    return POOLINGS[modes[0]]
