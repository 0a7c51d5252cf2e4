"""A sentence-transformers cross-encoder, which scores how well a text answers a question. It does not know Ray."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class Scorer:
    """Scores pairs of question and text; a pair longer than the model's context is truncated.

    Args:
        path: directory or hub id of a model with one label.
        threads: number of torch threads.

    """

    def __init__(self, path: str, threads: int) -> None:
        import torch
        from sentence_transformers import CrossEncoder

        torch.set_num_threads(threads)
        self._model = CrossEncoder(path, activation_fn=torch.nn.Identity())  # with a sigmoid, the best would all be 1.0
        if self._model.num_labels != 1:
            raise ValueError(f"{path} has {self._model.num_labels} labels: a cross-encoder for ranking must have one")

    def score(self, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.float32]:
        """One float32, little-endian, for each pair: the model's logit."""
        return np.asarray(self._model.predict(list(pairs), show_progress_bar=False), dtype="<f4")
