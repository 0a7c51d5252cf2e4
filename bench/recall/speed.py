"""The cost of recall: latency, build time and memory, for several sizes of a person's past, over many people.

    python -m bench.recall.speed

Turns are synthetic (words by Zipf's law over a vocabulary of 8,000, 20 turns in each conversation) and vectors are
random unit vectors, because the cost does not depend on the results. Each question goes to another person, so that
processor caches are cold. Of 1,000 people as many are kept as fit into the budget; the others cost a build. Embedding
the question is not included. One thread. If the scheduler interrupts a search, that is in its time but not in its
processor time; the share of such searches is counted.
"""

import random
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich.console import Console

from bench.environment import commit, machine, write_result
from bench.markdown import table
from bench.percentiles import percentiles
from memory.recall.corpus import Corpus, Item
from memory.recall.query_rewriting import rewrite
from memory.recall.ranking import DEPTH, Dense, Matrix, recall
from memory.recall.vector_index import VectorIndex, use_one_thread

SIZES = (500, 5_000, 20_000)
DIMENSIONS = 384
PEOPLE = 1_000
TURNS_A_CONVERSATION = 20
START = datetime(2024, 1, 1, tzinfo=UTC)
WORDS = tuple(f"w{number}x" for number in range(8_000))
WEIGHTS = np.cumsum(1.0 / np.arange(1, len(WORDS) + 1)).tolist()
console = Console(stderr=True)


class Stock:
    """Texts and vectors to make pasts of, made once: what is random need not be another's for everybody."""

    def __init__(self, seed: int) -> None:
        self.dice, self.noise = random.Random(seed), np.random.default_rng(seed)
        self.texts = [" ".join(_words(18, self.dice)) for _ in range(max(SIZES))]
        self.vectors = _unit(self.noise, 2 * max(SIZES))

    def turn(self, number: int) -> Item:
        """Turn `number` of somebody's past, with any text."""
        at, conversation = START + timedelta(minutes=number), str(number // TURNS_A_CONVERSATION)
        return Item(f"t{number}", "turn", self.dice.choice(self.texts), at, ("Ann", "Bob")[number % 2], conversation)


class Person:
    """Somebody with a past of `size` turns; building it is timed."""

    def __init__(self, size: int, stock: Stock) -> None:
        turns = [stock.turn(number) for number in range(size)]
        first = stock.dice.randrange(max(SIZES) - size + 1)
        began = time.perf_counter()
        self.indexes = [_index(half[first : first + size]) for half in np.split(stock.vectors, 2)]
        indexed = time.perf_counter()
        self.dense = Dense(*self.indexes)
        self.corpus = Corpus()
        for turn in turns:
            self.corpus.add(turn)
        self.vectors_s, self.corpus_s = indexed - began, time.perf_counter() - indexed


def main(
    questions: Annotated[int, typer.Option(min=100, help="Questions at each size.")] = 2_000,
    budget_mb: Annotated[int, typer.Option(help="Memory for the people kept.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
) -> None:
    """Measure recall's latency, build time and memory."""
    use_one_thread()
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"machine": machine(), "questions": questions, "budget_mb": budget_mb, "seed": seed}
    result["sizes"] = {str(size): measure(size, questions, budget_mb, seed) for size in SIZES}
    write_result("recall_speed", result, markdown(result))
    typer.echo(markdown(result))
    console.print("written: bench/results/recall_speed.json, .md")


def measure(size: int, questions: int, budget_mb: int, seed: int) -> dict[str, Any]:
    """One size: the numbers as plain data, times in ms."""
    stock = Stock(seed)
    dice, process = stock.dice, psutil.Process()
    before = process.memory_info().rss
    people = [Person(size, stock)]
    reported_mb = (people[0].corpus.size_bytes + sum(index.size_bytes for index in people[0].indexes)) / 1e6
    kept = max(1, min(PEOPLE, int(budget_mb / reported_mb)))
    with console.status(f"{kept} people with {size} turns each"):
        people += [Person(size, stock) for _ in range(kept - 1)]
    grown_mb = (process.memory_info().rss - before) / 1e6 / kept
    search, whole = [], []
    interrupted = 0
    for _ in range(questions):
        person = dice.choice(people)
        query = rewrite("When did Ann " + " ".join(_words(5, dice)) + "?", person.corpus.people)
        vectors = _unit(stock.noise, len(query.texts))
        switches = _interruptions()
        search.append(_ms(partial(person.dense.single.search, vectors[:1], DEPTH)))
        interrupted += _interruptions() > switches
        person = dice.choice(people)
        whole.append(_ms(partial(recall, person.corpus, person.dense, query, vectors, now=START)))
    news = [(dice.choice(people).corpus, stock.turn(size)) for _ in range(questions)]
    added = [_ms(partial(corpus.add, turn))[0] for corpus, turn in news]
    return {
        "people_kept": kept,
        "search_ms": percentiles([took for took, _ in search]),
        "search_cpu_ms": percentiles([worked for _, worked in search]),
        "search_interrupted_share": round(interrupted / questions, 4),
        "recall_ms": percentiles([took for took, _ in whole]),
        "recall_cpu_ms": percentiles([worked for _, worked in whole]),
        "add_ms": percentiles(added),
        "build_vectors_ms": percentiles([1000 * each.vectors_s for each in people]),
        "build_corpus_ms": percentiles([1000 * each.corpus_s for each in people]),
        "person_mb": round(reported_mb, 2),
        "person_rss_mb": round(grown_mb, 2),
    }


def markdown(result: dict[str, Any]) -> str:
    """The table of docs/recall.md."""
    names = {
        "search_ms": "FAISS, one vector", "search_cpu_ms": "its processor time", "recall_ms": "whole recall",
        "recall_cpu_ms": "its processor time", "add_ms": "add a turn",
        "build_vectors_ms": "build FAISS", "build_corpus_ms": "build the rest",
    }  # fmt: skip
    rows = [
        [size, str(row["people_kept"]), *(f"{row[each]['p50']:.2f} / {row[each]['p99']:.2f}" for each in names),
         f"{row['person_rss_mb']:.1f}"]
        for size, row in result["sizes"].items()
    ]  # fmt: skip
    return table(["turns", "people kept", *(f"{name}, ms" for name in names.values()), "MB a person"], rows) + "\n"


def _words(count: int, dice: random.Random) -> list[str]:
    return dice.choices(WORDS, cum_weights=WEIGHTS, k=count)


def _unit(noise: np.random.Generator, rows: int) -> Matrix:
    vectors = noise.standard_normal((rows, DIMENSIONS), dtype=np.float32)
    unit: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _index(vectors: Matrix) -> VectorIndex:
    index = VectorIndex(vectors.shape[1])
    index.put(range(len(vectors)), vectors)
    return index


def _interruptions() -> int:
    """How often another has been given this thread's core."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def _ms(what: Callable[[], object]) -> tuple[float, float]:
    """How long it took, and how much of that the processor worked for it: another's work does not count there."""
    began, worked = time.perf_counter(), time.thread_time()
    what()
    return 1000 * (time.perf_counter() - began), 1000 * (time.thread_time() - worked)


if __name__ == "__main__":
    typer.run(main)
