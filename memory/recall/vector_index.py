"""An index of unit vectors in FAISS, by the rows of a corpus (`memory.recall.ranking.VectorSearch`).

The index is flat: a person has some thousands of vectors, and comparing all of them takes a fraction of a millisecond.
Most of that is reading them from memory, so they are stored as half floats, with inner products exact to three digits
or more: half the reads and half the memory. FAISS is not safe for an add during a search, so one thread owns all
indexes (`memory.recall.index_cache`). This is the only module that imports faiss.
"""

from array import array
from collections.abc import Sequence

import faiss
import numpy as np
import numpy.typing as npt

from memory.recall.bm25 import Rows
from memory.recall.ranking import Matrix


def use_one_thread() -> None:
    """Make FAISS use only the calling thread: distributing so little work takes longer than doing it."""
    faiss.omp_set_num_threads(1)


class VectorIndex:
    """Vectors of `dimensions` numbers; a row may have none, or several, of which the nearest counts."""

    def __init__(self, dimensions: int) -> None:
        self._index = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self._rows = array("q")  # by position
        self._positions: dict[int, list[int]] = {}
        self._row_of = np.empty(0, dtype=np.int64)
        self._most = 1  # vectors of a row

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def size_bytes(self) -> int:
        """Its approximate size in memory, bytes."""
        return len(self._rows) * (2 * self._index.d + 130)  # 130: a row's entries in two arrays and a dictionary

    def put(self, rows: Sequence[int], vectors: Matrix) -> None:
        """Set the vectors of `rows`, replacing existing ones; a row that comes several times has as many vectors."""
        stored = self._stored()
        free = {row: list(self._positions.get(row, ())) for row in rows}
        fresh = []
        for number, row in enumerate(rows):
            if free[row]:
                stored[free[row].pop(0)] = vectors[number]
            else:
                fresh.append(number)
        for row, positions in free.items():
            for position in positions:  # it had more of them before
                stored[position] = stored[self._positions[row][0]]
        for number in fresh:
            own = self._positions.setdefault(rows[number], [])
            own.append(len(self._rows))
            self._most = max(self._most, len(own))
            self._rows.append(rows[number])
        if fresh:
            self._index.add(np.ascontiguousarray(vectors[fresh], dtype=np.float32))
            self._row_of = np.array(self._rows, dtype=np.int64)

    def search(self, queries: Matrix, depth: int, /) -> tuple[Matrix, Rows]:
        """For each query the inner products and the rows of the `depth` nearest, best first; row -1 where none is."""
        spare = min(len(self._rows) - len(self._positions), depth * (self._most - 1))  # vectors beyond one for each row
        scores, positions = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), depth + spare)
        rows = np.full(positions.shape, -1, dtype=np.int64)
        rows[positions >= 0] = self._row_of[positions[positions >= 0]]
        return (scores, rows) if not spare else _nearest_of_each(scores, rows, depth)

    def nearest_part(self, queries: Matrix, row: int) -> int | None:
        """Which of a row's vectors (from 0, in the order of `put`) is nearest to a query; None if it has only one."""
        positions = self._positions.get(row, ())
        if len(positions) < 2:
            return None
        products = self._stored()[positions].astype(np.float32) @ queries.T
        return int(products.max(axis=1).argmax())

    def _stored(self) -> npt.NDArray[np.float16]:
        """The vectors where FAISS has them, to write to."""
        size_bytes = len(self._rows) * self._index.code_size
        if not size_bytes:
            return np.empty((0, self._index.d), dtype=np.float16)
        codes = faiss.rev_swig_ptr(self._index.codes.data(), size_bytes)
        return codes.view(np.float16).reshape(-1, self._index.d)


def _nearest_of_each(scores: Matrix, rows: Rows, depth: int) -> tuple[Matrix, Rows]:
    """The `depth` nearest of each query, a row only once."""
    best = np.full((len(rows), depth), np.finfo(np.float32).min, dtype=np.float32)
    best_rows = np.full((len(rows), depth), -1, dtype=np.int64)
    for query, of_query in enumerate(rows):
        _, first = np.unique(of_query, return_index=True)
        kept = np.sort(first)
        kept = kept[of_query[kept] >= 0][:depth]
        best[query, : len(kept)], best_rows[query, : len(kept)] = scores[query, kept], of_query[kept]
    return best, best_rows
