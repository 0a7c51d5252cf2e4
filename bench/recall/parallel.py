"""How often the right one of fourteen facts comes first by words alone, in eight languages; what the threshold does.

    python -m bench.recall.parallel

The facts and questions are the same in each language (`parallel.yaml`): other forms of the words, missing accents,
another spelling. First without vectors: that measures tokenisation and stemming (`memory.language`). Then with those of
the default embedder: how many of the questions recall something, and how much of the held-out small talk
(`small_talk.yaml`, in several languages) does, of a past that is these fourteen facts.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import typer
import yaml

from bench.markdown import table
from bench.recall.embedding import embed
from memory.language.small_talk import is_small_talk
from memory.recall.bm25 import LexicalIndex
from memory.recall.corpus import Corpus, Item
from memory.recall.query_rewriting import rewrite
from memory.recall.ranking import Dense, Matrix, recall
from memory.recall.relevance import WITH_VECTORS, are_relevant, relevance
from memory.recall.vector_index import VectorIndex
from serving.config.schema import ChatMemorySettings

DATA = Path(__file__).with_name("parallel.yaml")
TALK = Path(__file__).with_name("small_talk.yaml")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
(MODEL,) = WITH_VECTORS


def main() -> None:
    """Print the tables of docs/recall.md."""
    data, talk = yaml.safe_load(DATA.read_text()), yaml.safe_load(TALK.read_text())["held_out"]
    answers = data.pop("answers")
    rows = []
    for language, texts in data.items():
        asked = sum(recalls(texts["facts"], question) for question in texts["questions"])
        small = sum(recalls(texts["facts"], message) for message in talk)
        right = f"{right_first(texts, answers)} of {len(answers)}"
        rows.append([language, right, f"{asked} of {len(answers)}", f"{small} of {len(talk)}"])
    typer.echo(table(["language", "right fact first", "questions that recall", "small talk that recalls"], rows))


def right_first(texts: dict[str, Any], answers: list[int]) -> int:
    """The number of questions whose fact is alone at the top."""
    index = LexicalIndex()
    for fact in texts["facts"]:
        index.add(fact)
    right = 0
    for question, answer in zip(texts["questions"], answers, strict=True):
        scores = np.zeros(len(index))
        for rows, gains in index.by_term(question):
            scores[rows] += gains
        right += bool(scores[answer] > np.delete(scores, answer).max())
    return right


def recalls(facts: list[str], message: str) -> bool:
    """Whether a message recalls anything of these facts, as in a chat."""
    if is_small_talk(message):
        return False
    corpus = Corpus()
    for number, fact in enumerate(facts):
        corpus.add(Item(str(number), "turn", fact, NOW, "user", "c"))
    windows = [corpus.window(row) for row in range(len(corpus))]
    query = rewrite(message, corpus.people, speaker="user")
    vector_of = embed([*facts, *windows, *query.texts])
    singles, around, asked = (np.stack([vector_of[each] for each in some]) for some in (facts, windows, query.texts))
    found = recall(corpus, Dense(_index(singles), _index(around)), query, asked, now=NOW, limit=10)
    likely = [relevance(each.evidence, MODEL) for each in found]
    return query.names_somebody or are_relevant(likely, ChatMemorySettings().min_relevance)


def _index(vectors: Matrix) -> VectorIndex:
    index = VectorIndex(vectors.shape[1])
    index.put(range(len(vectors)), vectors)
    return index


if __name__ == "__main__":
    typer.run(main)
