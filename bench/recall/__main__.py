"""Recall against LoCoMo's labels, through the real code path, with baselines computed in the same run.

    python -m bench.recall --data locomo10.json

Turn by turn: recall@10 is the share of a question's evidence among the ten turns found first, averaged over questions;
hit@10 the share of questions with any. Intervals are 95 %, by bootstrap over questions (Efron, 1979). No language
model is involved.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from bench.environment import RESULTS, commit, machine, write_result
from bench.markdown import table
from bench.recall import floors as recall_floors
from bench.recall import locomo
from bench.recall.embedding import embed
from bench.recall.locomo import CATEGORIES, Conversation
from memory.recall.corpus import Corpus
from memory.recall.query_rewriting import rewrite
from memory.recall.ranking import Dense, Matrix, recall
from memory.recall.vector_index import VectorIndex, use_one_thread

K = 10
RESAMPLES = 2000
OURS = "recall"
console = Console(stderr=True)


@dataclass(frozen=True)
class Outcome:
    """One question by one ranker: the share of its evidence among the first ten."""

    conversation: str
    category: str
    ranker: str
    recall: float


def main(
    data: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="LoCoMo's conversations, a JSON file.")],
    name: Annotated[str, typer.Option(help="Results go to bench/results/NAME.{json,md,png}.")] = "recall",
) -> None:
    """Measure recall@10 and hit@10 by category."""
    use_one_thread()
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    began = time.perf_counter()
    conversations = locomo.read(data)
    outcomes = [outcome for each in conversations for outcome in ask_all(each)]
    result |= {
        "machine": machine(),
        "data": _about(conversations),
        "k": K,
        "took_s": round(time.perf_counter() - began),
    }
    result["rankers"] = {ranker: _summary(outcomes, ranker) for ranker in (*recall_floors.NAMES, OURS)}
    write_result(name, result, markdown(result))
    plot(result, RESULTS / f"{name}.png")
    typer.echo(markdown(result))
    console.print(f"written: bench/results/{name}.json, .md, .png")


def ask_all(conversation: Conversation) -> list[Outcome]:
    """Every question of a conversation, by recall and by the floors."""
    corpus = Corpus()
    for turn in conversation.turns:
        corpus.add(turn)
    single, windows = recall_floors.texts(conversation, corpus)
    queries = [rewrite(question.text, corpus.people) for question in conversation.questions]
    texts = [turn.text for turn in conversation.turns]
    questions = [text for each in queries for text in each.texts]
    with console.status(f"{conversation.id}: embedding"):
        vector_of = embed([*texts, *single, *windows, *questions])
    named, around = _matrix(vector_of, single), _matrix(vector_of, windows)
    dense = Dense(_index(_matrix(vector_of, texts)), _index(around))
    lexical = (recall_floors.bm25(single), recall_floors.bm25(windows))
    ids = [turn.id for turn in conversation.turns]
    outcomes = []
    for question, query in zip(conversation.questions, queries, strict=True):
        embedded = _matrix(vector_of, query.texts)
        orders = recall_floors.rank(question.text, embedded[0], lexical, (named, around))
        first = {ranker: [ids[row] for row in order[:K]] for ranker, order in orders.items()}
        found = recall(corpus, dense, query, embedded, now=conversation.ends, limit=K)
        first[OURS] = [each.item.id for each in found]
        for ranker, turns in first.items():
            share = len(question.evidence.intersection(turns)) / len(question.evidence)
            outcomes.append(Outcome(conversation.id, question.category, ranker, share))
    return outcomes


def _matrix(vector_of: Mapping[str, Matrix], texts: Sequence[str]) -> Matrix:
    return np.stack([vector_of[text] for text in texts])


def _index(vectors: Matrix) -> VectorIndex:
    index = VectorIndex(vectors.shape[1])
    index.put(range(len(vectors)), vectors)
    return index


def _summary(outcomes: Sequence[Outcome], ranker: str) -> dict[str, Any]:
    mine = [each for each in outcomes if each.ranker == ranker]
    groups = {"all": mine}
    groups |= {category: [each for each in mine if each.category == category] for category in CATEGORIES}
    figures = {name: _numbers([each.recall for each in group]) for name, group in groups.items() if group}
    conversations = dict.fromkeys(each.conversation for each in mine)
    figures["conversations"] = {
        id_: _numbers([each.recall for each in mine if each.conversation == id_]) for id_ in conversations
    }
    return figures


def _numbers(shares: Sequence[float]) -> dict[str, Any]:
    values = np.array(shares)
    draws = np.random.default_rng(1).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return {
        "questions": len(values),
        "recall": round(float(values.mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "hit": round(float((values > 0).mean()), 4),
    }


def _about(conversations: Sequence[Conversation]) -> dict[str, Any]:
    return {each.id: {"turns": len(each.turns), "questions": len(each.questions)} for each in conversations}


def markdown(result: dict[str, Any]) -> str:
    """The table of docs/recall.md."""
    counts = [result["rankers"][OURS][name]["questions"] for name in ("all", *CATEGORIES)]
    head = ["recall@10 / hit@10, %"] + [
        f"{name} ({count})" for name, count in zip(("all", *CATEGORIES), counts, strict=True)
    ]
    rows = [
        [ranker, *(_cell(figures[name]) for name in ("all", *CATEGORIES))]
        for ranker, figures in result["rankers"].items()
    ]
    low, high = result["rankers"][OURS]["all"]["interval"]
    by = ", ".join(
        f"{id_} {100 * figures['recall']:.1f}" for id_, figures in result["rankers"][OURS]["conversations"].items()
    )
    return f"{table(head, rows)}\n\n{OURS}: 95 % interval {100 * low:.1f} to {100 * high:.1f}; by conversation {by}.\n"


def _cell(figures: dict[str, Any]) -> str:
    return f"{100 * figures['recall']:.1f} / {100 * figures['hit']:.1f}"


def plot(result: dict[str, Any], path: Path) -> None:
    """Recall@10 by category as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 4.5), constrained_layout=True)
    groups = ("all", *CATEGORIES)
    width = 0.8 / len(result["rankers"])
    colours = ("#d1d5db", "#9ca3af", "#93c5fd", "#1d4ed8", "#c2410c")
    for place, ((ranker, figures), colour) in enumerate(zip(result["rankers"].items(), colours, strict=True)):
        at = [index + (place - 2) * width for index in range(len(groups))]
        heights = [100 * figures[name]["recall"] for name in groups]
        edges = [
            [abs(100 * edge - height) for edge in figures[name]["interval"]]
            for name, height in zip(groups, heights, strict=True)
        ]
        axis.bar(at, heights, width * 0.9, color=colour, label=ranker)
        axis.errorbar(at, heights, yerr=list(zip(*edges, strict=True)), fmt="none", ecolor="black", elinewidth=0.7)
    axis.set_xticks(range(len(groups)), [f"{name}\n({result['rankers'][OURS][name]['questions']})" for name in groups])
    axis.set_ylabel("recall@10, %")
    axis.set_title(
        f"LoCoMo, turn by turn, {len(result['data'])} conversations; commit {result['commit'][:9]}", fontsize=10
    )
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
