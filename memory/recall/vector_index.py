"""An index of unit vectors in FAISS, by the rows of a corpus (`memory.recall.ranking.VectorSearch`).

It is flat: a person has some thousands of vectors, and looking at each takes a fraction of a millisecond. Most of that
is the way of the vectors from memory, so they are kept as half floats, with an inner product right to three digits or
more: half the way, and half the memory. FAISS is not safe for an add beside a search, so one thread has all indexes
(`memory.recall.index_cache`). The only importer of faiss.
"""

from array import array
from collections.abc import Sequence

import faiss
import numpy as np
import numpy.typing as npt

from memory.recall.bm25 import Rows
from memory.recall.ranking import Matrix


def use_one_thread() -> None:
    """Let FAISS work on the calling thread alone: handing out so little work takes longer than doing it."""
    faiss.omp_set_num_threads(1)


class VectorIndex:
    """Vectors of `dimensions` numbers, at most one a row; a row need not have one."""

    def __init__(self, dimensions: int) -> None:
        self._index = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self._rows = array("q")
        self._places: dict[int, int] = {}
        self._row_of = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        """About what it holds in memory."""
        return len(self._rows) * (2 * self._index.d + 130)  # 130: a row's entries in two arrays and a dictionary

    def put(self, rows: Sequence[int], vectors: Matrix) -> None:
        """Set the vectors of `rows`, none twice; a row that had one has this one now."""
        stored = self._stored()
        fresh = []
        for number, row in enumerate(rows):
            place = self._places.get(row)
            if place is None:
                fresh.append(number)
            else:
                stored[place] = vectors[number]
        for number in fresh:
            self._places[rows[number]] = len(self._rows)
            self._rows.append(rows[number])
        if fresh:
            self._index.add(np.ascontiguousarray(vectors[fresh], dtype=np.float32))
            self._row_of = np.array(self._rows, dtype=np.int64)

    def search(self, queries: Matrix, depth: int, /) -> tuple[Matrix, Rows]:
        """For each query the inner products and the rows of the `depth` nearest, best first; row -1 where none is."""
        scores, places = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), depth)
        rows = np.full(places.shape, -1, dtype=np.int64)
        rows[places >= 0] = self._row_of[places[places >= 0]]
        return scores, rows

    def _stored(self) -> npt.NDArray[np.float16]:
        """The vectors where FAISS has them, to write to."""
        size_bytes = len(self._rows) * self._index.code_size
        if not size_bytes:
            return np.empty((0, self._index.d), dtype=np.float16)
        codes = faiss.rev_swig_ptr(self._index.codes.data(), size_bytes)
        return codes.view(np.float16).reshape(-1, self._index.d)
