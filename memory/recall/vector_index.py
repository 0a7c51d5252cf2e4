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
    """Vectors of `dimensions` numbers, at most one for each row; a row may have none."""

    def __init__(self, dimensions: int) -> None:
        self._index = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self._rows = array("q")
        self._positions: dict[int, int] = {}
        self._row_of = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        """Its approximate size in memory, bytes."""
        return len(self._rows) * (2 * self._index.d + 130)  # 130: a row's entries in two arrays and a dictionary

    def put(self, rows: Sequence[int], vectors: Matrix) -> None:
        """Set the vectors of `rows` (no duplicates), replacing existing ones."""
        stored = self._stored()
        fresh = []
        for number, row in enumerate(rows):
            position = self._positions.get(row)
            if position is None:
                fresh.append(number)
            else:
                stored[position] = vectors[number]
        for number in fresh:
            self._positions[rows[number]] = len(self._rows)
            self._rows.append(rows[number])
        if fresh:
            self._index.add(np.ascontiguousarray(vectors[fresh], dtype=np.float32))
            self._row_of = np.array(self._rows, dtype=np.int64)

    def search(self, queries: Matrix, depth: int, /) -> tuple[Matrix, Rows]:
        """For each query the inner products and the rows of the `depth` nearest, best first; row -1 where none is."""
        scores, positions = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), depth)
        rows = np.full(positions.shape, -1, dtype=np.int64)
        rows[positions >= 0] = self._row_of[positions[positions >= 0]]
        return scores, rows

    def _stored(self) -> npt.NDArray[np.float16]:
        """The vectors where FAISS has them, to write to."""
        size_bytes = len(self._rows) * self._index.code_size
        if not size_bytes:
            return np.empty((0, self._index.d), dtype=np.float16)
        codes = faiss.rev_swig_ptr(self._index.codes.data(), size_bytes)
        return codes.view(np.float16).reshape(-1, self._index.d)
