"""An embedding model on sentence-transformers: any of its models, on a CPU or a GPU."""

from collections.abc import Sequence

import numpy as np

from models.embedding.text_model import Matrix

# Texts in one pass of the model. On a CPU larger ones are slower and leave more memory behind: 32 texts of 120 to 240
# words took 2.6 s of CPU and 220 MB beyond the model in passes of 32, 2.0 s and 65 MB in passes of 8.
PASS_TEXTS = {"cpu": 8}
# Tokens to whose multiples texts are filled up there: the allocator keeps something for each length that comes. In 120
# calls of one to eight texts of 3 to 200 words the process of MiniLM grew from 475 to 604 MB without it, from 466 to
# 501 MB with it, and they took 21.2 s of CPU in place of 18.8.
MULTIPLE_TOKENS = {"cpu": 32}


class TorchTextModel:
    """See `models.embedding.text_model.TextModel`.

    Args:
        path: a directory or a hub id.
        threads: of torch.

    """

    def __init__(self, path: str, *, threads: int) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        self._model = SentenceTransformer(path)
        self._tokenizer = self._model.tokenizer
        self.window = int(self._model.max_seq_length or 512)
        self.vocabulary = len(self._tokenizer)
        self.frame: Sequence[int] = list(self._tokenizer("")["input_ids"])
        device = self._model.device.type
        self._pass_texts = PASS_TEXTS.get(device, 32)
        multiple = MULTIPLE_TOKENS.get(device, 1)
        if multiple > 1 and self.window % multiple == 0:  # never beyond the positions that the model has
            self._model[0].processing_kwargs = {"text": {"pad_to_multiple_of": multiple}}

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text."""
        return [len(ids) for ids in self._tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def embed(self, texts: Sequence[str]) -> Matrix:
        """A unit vector for each text."""
        made = self._model.encode(
            list(texts), batch_size=self._pass_texts, normalize_embeddings=True, show_progress_bar=False
        )
        return np.ascontiguousarray(made, dtype="<f4")
