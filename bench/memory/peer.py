"""Finds the 200 nearest of one person's 5,000 vectors among many people's: memory's index, sqlite-vec and numpy.

sqlite-vec is an extension of SQLite for vectors; a partition key makes it look at one person's only. It reads from
SQLite's cache or the file, ours from a view in the process's memory: what a view buys, and why it is made. numpy is the
plain inner product and a partial sort over a matrix of float32. Sides take turns, block by block; ratios are within a
round. bench/memory/peer.txt is installed below var/; where it cannot be, sqlite-vec is left out.
"""

import importlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bench.memory.speed import DIMENSIONS
from bench.percentiles import percentiles
from memory.recall.ranking import DEPTH, Matrix
from memory.recall.vector_index import VectorIndex, use_one_thread

PINNED = Path(__file__).with_name("peer.txt")
INSTALLED = Path(__file__).parents[2] / "var" / "bench" / "peer"
TURNS = 5_000
BLOCK = 50  # searches
OURS = "Bondhu's index (FAISS, half floats)"
Search = Callable[[int, Matrix], Any]


def compare(*, people: int, rounds: int) -> dict[str, Any]:
    """Latency of a search by side, and each side's median over ours in each round."""
    use_one_thread()
    draw = np.random.default_rng(2)
    vectors = [_unit(draw, TURNS) for _ in range(people)]
    with tempfile.TemporaryDirectory(prefix="bondhu-bench-") as folder:
        sides = {OURS: _ours(vectors), "numpy": _numpy(vectors)}
        if _installed():
            sides["sqlite-vec"] = _sqlite_vec(vectors, Path(folder) / "peer.db")
        took: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in sides}
        with threadpool_limits(1):  # numpy's
            for _ in range(rounds):
                queries = [(int(draw.integers(people)), _unit(draw, 1)) for _ in range(BLOCK)]
                for name, search in sides.items():
                    took[name].append([_timed(search, *each) for each in queries])
    medians = {name: [median(wall for wall, _ in block) for block in blocks] for name, blocks in took.items()}
    return {
        "people": people,
        "turns": TURNS,
        "nearest": DEPTH,
        "ms": {name: percentiles([wall for block in blocks for wall, _ in block]) for name, blocks in took.items()},
        "cpu_ms": {name: percentiles([cpu for block in blocks for _, cpu in block]) for name, blocks in took.items()},
        "over_ours": {
            name: [round(each / ours, 3) for each, ours in zip(values, medians[OURS], strict=True)]
            for name, values in medians.items()
        },
    }


def _ours(people: list[Matrix]) -> Search:
    indexes = []
    for vectors in people:
        indexes.append(VectorIndex(DIMENSIONS))
        indexes[-1].put(range(len(vectors)), vectors)
    return lambda person, query: indexes[person].search(query, DEPTH)


def _numpy(people: list[Matrix]) -> Search:
    def search(person: int, query: Matrix) -> Any:
        scores = people[person] @ query[0]
        best = np.argpartition(-scores, DEPTH)[:DEPTH]
        return best[np.argsort(-scores[best])]

    return search


def _sqlite_vec(people: list[Matrix], path: Path) -> Search:
    apsw, sqlite_vec = importlib.import_module("apsw"), importlib.import_module("sqlite_vec")
    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute("pragma mmap_size = 4000000000")
    connection.execute(
        f"create virtual table v using vec0(person integer partition key, vector float[{DIMENSIONS}] "
        "distance_metric=cosine)"
    )
    with connection:
        for person, vectors in enumerate(people):
            rows = [(person, each.tobytes()) for each in vectors]
            connection.executemany("insert into v (person, vector) values (?, ?)", rows)
    query_sql = "select rowid, distance from v where person = ? and vector match ? and k = ?"
    return lambda person, query: connection.execute(query_sql, (person, query.tobytes(), DEPTH)).fetchall()


def _installed() -> bool:
    if not INSTALLED.exists():
        uv = shutil.which("uv")
        pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
        command = [*pip, "--no-deps", "--target", str(INSTALLED), "-r", str(PINNED)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            shutil.rmtree(INSTALLED, ignore_errors=True)
            return False
    if str(INSTALLED) not in sys.path:
        sys.path.append(str(INSTALLED))
    return True


def _timed(search: Search, person: int, query: Matrix) -> tuple[float, float]:
    """How long it took, and how much of that the processor worked for it, ms."""
    began, worked = time.perf_counter(), time.thread_time()
    search(person, query)
    return 1_000 * (time.perf_counter() - began), 1_000 * (time.thread_time() - worked)


def _unit(draw: np.random.Generator, rows: int) -> Matrix:
    vectors = draw.standard_normal((rows, DIMENSIONS), dtype=np.float32)
    unit: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
