"""Recall: the parts of a person's past that a question is about, best first.

    query = rewrite(question, corpus.people, speaker=speaker)   # memory.recall.query_rewriting
    vectors = embed(query.texts)                              # by the caller; one row for each text
    found = recall(corpus, Dense(single, window), query, vectors, now=now)
    fit = within_budget(found, ...)                           # memory.recall.token_budget

Three rankers each name their best items: by the embedding of an item, by the embedding of a turn within its window, and
by BM25 with nearest mentions. Reciprocal rank fuses the three lists, and four bounded factors adjust the result. Words
of somebody else count less if the question is about one person. Items from the time that the question names count more;
if it names none, newer items count a little more. Items marked as painful count less the longer ago they were marked.
The module does not know where vectors come from or how they are searched. What each part is worth: docs/recall.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from memory.recall.bm25 import Rows, Scores
from memory.recall.context_windows import nearest_mentions
from memory.recall.corpus import Corpus, Item
from memory.recall.query_rewriting import RewrittenQuestion
from memory.recall.rank_fusion import best_first, reciprocal_rank
from memory.recall.relevance import NOTHING_KNOWN, Evidence
from memory.times.expressions import interval
from memory.times.interval import Interval

DEPTH = 200  # how many each ranker names
DAY_S = 86_400.0

Matrix = npt.NDArray[np.float32]


class VectorSearch(Protocol):
    """An index of unit vectors, one a row of the corpus; as faiss.IndexFlatIP."""

    def search(self, queries: Matrix, depth: int, /) -> tuple[Matrix, Rows]:
        """For each query the inner products and the rows of the `depth` nearest, best first; row -1 where none is."""
        ...


class Dense(NamedTuple):
    """Both indexes of a corpus: of each item's text, and of its window's (`Corpus.window`)."""

    single: VectorSearch
    window: VectorSearch


@dataclass(frozen=True, slots=True)
class Factors:
    """Factors that a score is multiplied by.

    `others`: words of somebody else, if the question is about one person. `in_time`: items from the time that the
    question names; people report events afterwards, so this extends to `reported_within_s` after it. `newest`: an item
    of this moment, if the question names no time; half of the surplus is left after `half_life_s`. `painful`: the
    lower bound for items marked as painful; their score is halved every `half_life_s` since the mark.
    """

    others: float = 1 / 3
    in_time: float = 3.0
    reported_within_s: float = 7 * DAY_S
    newest: float = 1.05
    half_life_s: float = 30 * DAY_S
    painful: float = 1 / 8


class RankerScore(NamedTuple):
    """The rank of an item in one ranker's list (from 1), and its score there."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """A result: the item, its score, its rank and score by ranker (`single`, `window`, `lexical`), its factors.

    `evidence` is what speaks for its being relevant at all, and `relevance` the probability of that, if it is known
    (`memory.recall.relevance`). `part`: which part of a long text is nearest to the question (from 0), if a vector
    says so. `contested_by`: memories that say otherwise (`memory.recall.contested`).
    """

    item: Item
    score: float
    by_ranker: Mapping[str, RankerScore]
    factors: Mapping[str, float]
    evidence: Evidence = NOTHING_KNOWN
    relevance: float | None = None
    part: int | None = None
    contested_by: tuple[str, ...] = ()


class _Ranking:
    """Rows, best first, and their scores."""

    def __init__(self, rows: Rows, scores: Scores) -> None:
        self.rows = rows
        self._scores = dict(zip(rows.tolist(), enumerate(scores.tolist(), 1), strict=True))

    def score_of(self, row: int) -> RankerScore | None:
        """The rank and score of `row`; None if the ranker did not name it."""
        return RankerScore(*self._scores[row]) if row in self._scores else None


class _PhrasingResult(NamedTuple):
    """The results for one phrasing of the question: each ranking, the factor of persons, and the fused score."""

    rankings: Mapping[str, _Ranking]
    person: Scores
    fused: Scores

    def by_ranker(self, row: int) -> dict[str, RankerScore]:
        """The rank and score of `row` by each ranker that named it."""
        scores = {name: ranking.score_of(row) for name, ranking in self.rankings.items()}
        return {name: score for name, score in scores.items() if score is not None}


def recall(
    corpus: Corpus,
    dense: Dense,
    query: RewrittenQuestion,
    vectors: Matrix,
    *,
    now: datetime,
    limit: int = 50,
    factors: Factors = Factors(),
    painful_at_s: Mapping[int, float] = MappingProxyType({}),
    depth: int = DEPTH,
) -> list[Ranked]:
    """The best `limit` items of `corpus` for a question, among those that some ranker named.

    Args:
        corpus: the person's items.
        dense: the indexes of its vectors.
        query: the question, from `memory.recall.query_rewriting.rewrite`.
        vectors: unit embeddings of `query.texts`, in that order.
        now: the time of the question, aware.
        limit: how many results.
        factors: what scores are multiplied by.
        painful_at_s: for each row that is marked as painful, when it was marked, in seconds since 1970.
        depth: how many items each ranker names.

    """
    if not len(corpus):
        return []
    results = _rank_phrasings(corpus, dense, query, vectors, factors, depth)
    time_range = interval(query.question, now)
    plain = np.ones(len(corpus))
    time = _in_time(corpus, time_range, factors) if time_range else plain
    recency = plain if time_range else _recency(corpus, now, factors)
    painful = _painful(corpus, painful_at_s, now, factors)
    fused = np.stack([each.fused for each in results])
    scores = fused.max(axis=0) * time * recency * painful
    weight, has_vectors = corpus.lexical.weight_of(query.question), bool(vectors.any())
    found = []
    for row in best_first(scores, limit).tolist():
        best = results[int(fused[:, row].argmax())]
        moved = {"person": float(best.person[row]), "time": float(time[row]), "recency": float(recency[row])}
        moved["painful"] = float(painful[row])
        by_ranker = best.by_ranker(row)
        evidence = _evidence(by_ranker, weight, has_vectors=has_vectors)
        found.append(Ranked(corpus.items[row], float(scores[row]), by_ranker, moved, evidence))
    return found


def _evidence(by_ranker: Mapping[str, RankerScore], weight: float, *, has_vectors: bool) -> Evidence:
    """What the rankers say of an item; `weight` is that of the question's words."""
    single, window, lexical = (by_ranker.get(name) for name in ("single", "window", "lexical"))
    covered = min(1.0, lexical.score / weight) if lexical and weight else 0.0
    if not has_vectors:
        return Evidence(covered=covered)
    return Evidence(single.score if single else 0.0, window.score if window else 0.0, covered)


def _rank_phrasings(
    corpus: Corpus, dense: Dense, query: RewrittenQuestion, vectors: Matrix, factors: Factors, depth: int
) -> list[_PhrasingResult]:
    """Rank for every phrasing of the question."""
    depth = min(depth, len(corpus))
    nearest = {"single": dense.single.search(vectors, depth), "window": dense.window.search(vectors, depth)}
    lexical = _lexical(corpus, query.question, depth)
    results = []
    for phrasing in query.phrasings:
        index = query.texts.index(phrasing.text)
        rankings = {name: _of_phrasing(corpus, seen, index) for name, seen in nearest.items()} | {"lexical": lexical}
        person = np.ones(len(corpus))
        if phrasing.person is not None:
            person[corpus.turns_of_others(phrasing.person)] = factors.others
        fused = reciprocal_rank([ranking.rows for ranking in rankings.values()], len(corpus)) * person
        results.append(_PhrasingResult(rankings, person, fused))
    return results


def _lexical(corpus: Corpus, question: str, depth: int) -> _Ranking:
    scores = nearest_mentions(corpus.lexical.by_term(question), corpus.links())
    rows = best_first(scores, depth)
    return _Ranking(rows, scores[rows])


def _of_phrasing(corpus: Corpus, nearest: tuple[Matrix, Rows], index: int) -> _Ranking:
    """Turns by similarity to the question in this phrasing, memories by similarity to the unchanged question."""
    scores, rows = nearest
    if index == 0:
        found, similarity = rows[0], scores[0]
    else:
        found, similarity = np.concatenate(rows[[0, index]]), np.concatenate(scores[[0, index]])
        is_rewritten = np.arange(len(found)) >= rows.shape[1]
        is_match = corpus.are_turns(found) == is_rewritten
        found, similarity = found[is_match], similarity[is_match]
    found, similarity = found[found >= 0], similarity[found >= 0].astype(np.float64)
    order = np.argsort(-similarity, kind="stable")
    return _Ranking(found[order], similarity[order])


def _in_time(corpus: Corpus, time_range: Interval, factors: Factors) -> Scores:
    at_s = corpus.at_s()
    until_s = time_range.end.timestamp() + factors.reported_within_s
    return np.where((at_s >= time_range.start.timestamp()) & (at_s < until_s), factors.in_time, 1.0)


def _recency(corpus: Corpus, now: datetime, factors: Factors) -> Scores:
    age_s = np.maximum(now.timestamp() - corpus.at_s(), 0.0)
    return 1.0 + (factors.newest - 1.0) * 0.5 ** (age_s / factors.half_life_s)


def _painful(corpus: Corpus, painful_at_s: Mapping[int, float], now: datetime, factors: Factors) -> Scores:
    left = np.ones(len(corpus))
    for row, at_s in painful_at_s.items():
        left[row] = max(factors.painful, 0.5 ** (max(0.0, now.timestamp() - at_s) / factors.half_life_s))
    return left
