"""Embeddings for benchmarks, by the model that the embedder deployment runs by default, on one thread.

Kept below var/ under the hash of the text, so that a second run embeds nothing.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from memory.recall.ranking import Matrix
from models.embedding.text_model import PACKAGE, load

CACHE = Path(__file__).parents[2] / "var" / "bench" / "embeddings"


def embed(texts: Iterable[str]) -> dict[str, Matrix]:
    """The unit vector of each of `texts`, by the text; what was embedded once is read from the cache."""
    files = {text: CACHE / hashlib.sha256(text.encode()).hexdigest() for text in texts}
    missing = [text for text, file in files.items() if not file.exists()]
    if missing:
        CACHE.mkdir(parents=True, exist_ok=True)
        for text, vector in zip(missing, _encode(missing), strict=True):
            files[text].write_bytes(vector.astype("<f4").tobytes())
    return {text: np.frombuffer(file.read_bytes(), dtype="<f4") for text, file in files.items()}


def _encode(texts: Sequence[str]) -> Matrix:
    os.environ["HF_HUB_OFFLINE"] = "1"
    return load(PACKAGE, runtime="auto", threads=1).embed(texts)
