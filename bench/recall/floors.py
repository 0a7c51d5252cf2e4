"""The baselines that recall has to beat, on the same turns and vectors: single rankers, and a plain fusion of four.

BM25 is the library's own (bm25s: Lucene's formula, k1 = 1.5, b = 0.75, English stemmer, no stop words: the best of its
settings here), over turns and over windows of one turn on each side; dense is the inner product with the question as
it stands. Each turn is "speaker: text", as is usual.
"""

from collections.abc import Callable, Sequence

import bm25s
import numpy as np
import numpy.typing as npt
import Stemmer

from bench.recall.locomo import Conversation
from memory.recall.corpus import Corpus
from memory.recall.rank_fusion import reciprocal_rank
from memory.recall.ranking import Matrix

Ranker = Callable[[str], npt.NDArray[np.float64]]  # a question to a score for each turn

NAMES = ("dense", "BM25, ±1 turn", "RRF of four, k = 60", "RRF of four, k = 10")


def texts(conversation: Conversation, corpus: Corpus) -> tuple[list[str], list[str]]:
    """The texts of single turns and of windows."""
    single = [f"{turn.speaker}: {turn.text}" for turn in conversation.turns]
    return single, [corpus.window(row) for row in range(len(corpus))]


def rank(
    question: str, vector: Matrix, lexical: Sequence[Ranker], vectors: Sequence[Matrix]
) -> dict[str, npt.NDArray[np.int64]]:
    """Every floor's order of the turns, best first; `lexical` and `vectors` are of single turns and of windows."""
    orders = [_order(ranker(question)) for ranker in lexical] + [_order(matrix @ vector) for matrix in vectors]
    size = len(orders[0])
    fused = [_order(reciprocal_rank(orders, size, k=k)) for k in (60.0, 10.0)]
    return dict(zip(NAMES, (orders[2], orders[1], *fused), strict=True))


def bm25(documents: Sequence[str]) -> Ranker:
    """The library's BM25 over `documents`."""
    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25(backend="numpy")
    index.index(_tokens(documents, stemmer), show_progress=False)

    def score(question: str) -> npt.NDArray[np.float64]:
        (terms,) = _tokens([question], stemmer)
        return np.asarray(index.get_scores(terms) if terms else np.zeros(len(documents)), dtype=np.float64)

    return score


def _tokens(documents: Sequence[str], stemmer: Stemmer.Stemmer) -> list[list[str]]:
    return bm25s.tokenize(  # type: ignore[no-any-return]  # an untyped library
        list(documents), stopwords=None, stemmer=stemmer, return_ids=False, show_progress=False
    )


def _order(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    return np.argsort(-scores, kind="stable")
