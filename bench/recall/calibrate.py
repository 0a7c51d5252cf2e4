"""Fits the probability of relevance (`memory.recall.relevance`) to LoCoMo's development conversations.

    python -m bench.recall.calibrate --data locomo-dev.json

Examples are the first DEPTH results of every question, relevant if they are evidence, and of every message of small
talk, where none is. Logistic regression by Newton's method, on one part of the conversations and measured on the other,
both ways; the printed coefficients are of both. LoCoMo's evidence is the least that answers a question: a turn that is
about it but not needed counts as irrelevant, so probabilities are low, and so are thresholds. The held-out half of the
small talk is never fitted to. Sensitive memories (`sensitive.yaml`) are put beside each conversation: how often do its
questions, which are not about them, recall one, and how often those that are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
import yaml

from bench.recall import locomo
from bench.recall.embedding import embed
from bench.recall.locomo import Conversation
from memory.language.small_talk import is_small_talk
from memory.recall.corpus import Corpus, Item
from memory.recall.query_rewriting import RewrittenQuestion, rewrite
from memory.recall.ranking import Dense, Matrix, Ranked, recall
from memory.recall.vector_index import VectorIndex, use_one_thread

DEPTH = 30
K = 10
TALK, SENSITIVE = (Path(__file__).with_name(name) for name in ("small_talk.yaml", "sensitive.yaml"))
PARTS = (("conv-26", "conv-30"), ("conv-41",))
THRESHOLDS = (0.005, 0.01, 0.012, 0.015, 0.018, 0.02, 0.03, 0.05)
SENSITIVE_THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3)
EVERYTHING, WORDS = (0, 1, 2), (2,)
Features = npt.NDArray[np.float64]


@dataclass(frozen=True)
class QuestionResults:
    """A question's results: their features, and which are evidence; `evidence` is how much there is.

    `kind` is "question", or the half of the small talk, or "about" and "beside" of a sensitive memory.
    """

    conversation: str
    kind: str
    text: str
    names_somebody: bool
    features: Features
    relevant: npt.NDArray[np.bool_]
    sensitive: npt.NDArray[np.bool_]
    evidence: int


def main(data: Annotated[Path, typer.Option(exists=True, dir_okay=False)]) -> None:
    """Fit, and say how well it does."""
    use_one_thread()
    results = [each for conversation in locomo.read(data) for each in _ask(conversation)]
    for columns, name in ((EVERYTHING, "text, window, words"), (WORDS, "words alone")):
        for fitted_on in PARTS:
            rest = [each for each in results if each.conversation not in fitted_on]
            weights = _fit([each for each in results if each.conversation in fitted_on], columns)
            typer.echo(f"\n{name}: fitted on {', '.join(fitted_on)}: {_shown(weights)}; measured on the others")
            _report(rest, weights, columns)
        typer.echo(f"\n{name}: fitted on all: {_shown(_fit(results, columns))}")
        _report(results, _fit(results, columns), columns)


def _ask(conversation: Conversation) -> Iterator[QuestionResults]:
    talk, secrets = yaml.safe_load(TALK.read_text()), yaml.safe_load(SENSITIVE.read_text())
    results = [(question.text, "question", question.evidence) for question in conversation.questions]
    results += [(text, half, frozenset()) for half, texts in talk.items() for text in texts]
    memories = [
        Item(f"sensitive-{number}", "memory", each["memory"], conversation.ends, "user")
        for number, each in enumerate(secrets)
    ]
    results += [
        (each[kind], kind, frozenset({memory.id}))
        for kind in ("about", "beside")
        for memory, each in zip(memories, secrets, strict=True)
    ]
    for items in (conversation.turns, (*conversation.turns, *memories)):
        is_with_memories = len(items) > len(conversation.turns)
        corpus = Corpus()
        for item in items:
            corpus.add(item)
        some = [each for each in results if is_with_memories or each[1] in ("question", *talk)]
        queries = [rewrite(text, corpus.people) for text, _, _ in some]
        single, window = [item.text for item in items], [corpus.window(row) for row in range(len(corpus))]
        vector_of = embed([*single, *window, *(text for query in queries for text in query.texts)])
        dense = Dense(*(_index(np.stack([vector_of[text] for text in texts])) for texts in (single, window)))
        for (_, kind, evidence), query in zip(some, queries, strict=True):
            vectors = np.stack([vector_of[each] for each in query.texts])
            found = recall(corpus, dense, query, vectors, now=conversation.ends, limit=DEPTH)
            result = _results(conversation.id, kind, query, found, evidence)
            if is_with_memories:
                yield replace(result, kind=f"{kind}, sensitive")
            else:
                yield result


def _results(
    conversation: str, kind: str, query: RewrittenQuestion, found: Sequence[Ranked], evidence: frozenset[str]
) -> QuestionResults:
    seen = [(each.evidence.single or 0, each.evidence.window or 0, each.evidence.covered) for each in found]
    relevant = np.array([each.item.id in evidence for each in found], dtype=bool)
    sensitive = np.array([each.item.kind == "memory" for each in found], dtype=bool)
    features = np.array(seen).reshape(-1, 3)
    names = query.names_somebody
    return QuestionResults(conversation, kind, query.question, names, features, relevant, sensitive, len(evidence))


def _index(vectors: Matrix) -> VectorIndex:
    index = VectorIndex(vectors.shape[1])
    index.put(range(len(vectors)), vectors)
    return index


def _fit(results: Sequence[QuestionResults], columns: tuple[int, ...]) -> Features:
    """Logistic regression by Newton's method, slightly regularised, on questions and half of the small talk."""
    used = [each for each in results if each.kind in ("question", "development")]
    x = np.concatenate([each.features[:, columns] for each in used])
    x = np.hstack([np.ones((len(x), 1)), x])
    y = np.concatenate([each.relevant for each in used]).astype(np.float64)
    w = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ w))
        gradient = x.T @ (p - y) + 1e-3 * w
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(len(w))
        w -= np.linalg.solve(hessian, gradient)
    return w


def _probabilities(results: QuestionResults, w: Features, columns: tuple[int, ...]) -> Features:
    return np.asarray(1 / (1 + np.exp(-(w[0] + results.features[:, columns] @ w[1:]))))


def _report(results: Sequence[QuestionResults], w: Features, columns: tuple[int, ...]) -> None:
    questions = [each for each in results if each.kind == "question"]
    p = np.concatenate([_probabilities(each, w, columns) for each in questions])
    y = np.concatenate([each.relevant for each in questions])
    for low, high in pairwise((0.0, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)):
        inside = (p >= low) & (p < high)
        if inside.any():
            typer.echo(f"  p {low}-{high}: said {p[inside].mean():.3f}, true {y[inside].mean():.3f} of {inside.sum()}")
    for threshold in (0.0, *THRESHOLDS):
        shares = np.array([each.relevant[:K].sum() / each.evidence for each in questions])
        likely = np.array([_recalls(each, w, columns, threshold) for each in questions])
        named = np.array([each.names_somebody for each in questions])
        recall_at_k, strict = 100 * (shares * (likely | named)).mean(), 100 * (shares * likely).mean()
        line = f"  nothing below {threshold}: recall@{K} {recall_at_k:.2f} ({strict:.2f} whoever is named)"
        for half in ("development", "held_out"):
            talk = [each for each in results if each.kind == half]
            recalled = np.array([each.names_somebody or _recalls(each, w, columns, threshold) for each in talk])
            small = np.array([is_small_talk(each.text) for each in talk])
            line += f"; {half} {100 * recalled.mean():.1f} % (with word lists {100 * (recalled & ~small).mean():.1f})"
        typer.echo(line)
    for threshold in (0.0, *SENSITIVE_THRESHOLDS):
        by_kind = {
            kind: [
                bool((each.sensitive[:K] & (_probabilities(each, w, columns)[:K] >= threshold)).any())
                for each in results
                if each.kind == f"{kind}, sensitive"
            ]
            for kind in ("question", "about", "beside", "held_out")
        }
        shown = "; ".join(f"{kind} {100 * np.mean(values):.1f} %" for kind, values in by_kind.items())
        typer.echo(f"  sensitive from {threshold}: told to {shown}")


def _recalls(results: QuestionResults, w: Features, columns: tuple[int, ...], threshold: float) -> bool:
    return bool((_probabilities(results, w, columns)[:K] >= threshold).any())


def _shown(weights: Features) -> list[float]:
    return [round(float(each), 2) for each in weights]


if __name__ == "__main__":
    typer.run(main)
