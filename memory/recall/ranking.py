"""Recall: what of a person's past a question is about, best first.

    asked = put(question, corpus.people, asker=speaker)   # memory.recall.query_rewriting
    vectors = embed(asked.texts)                          # the caller's; one row a text
    found = recall(corpus, Dense(single, window), asked, vectors, now=now)
    fit = within_budget(found, ...)                       # memory.recall.token_budget

Three rankers each name their best: the embedding of an item, the embedding of a turn within its window, and BM25 by
nearest mention. Reciprocal rank makes one ranking of them, and four bounded factors move it: what somebody else said
counts for less when the question is about one person; what is of the time that the question names counts for more;
of the rest, newer things a little more; and what was marked as painful less and less, the longer ago that was. It does
not know where vectors come from nor how they are searched, and reads nothing but what it is given. What each part is
worth: docs/recall.md.
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
from memory.recall.time_expressions import Interval, interval

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
    """How far rank may be moved.

    `others`: what somebody else said, when the question is about one person. `in_time`: what is of the time asked
    for; people tell of things afterwards, so `told_later_s` more counts as in time. `newest`: something of this
    moment, when no time is asked for; half of the surplus is left after `half_life_s`. `painful`: the least that is
    left of what was marked as painful; until then it is halved every `half_life_s` since the mark.
    """

    others: float = 1 / 3
    in_time: float = 3.0
    told_later_s: float = 7 * DAY_S
    newest: float = 1.05
    half_life_s: float = 30 * DAY_S
    painful: float = 1 / 8


class Said(NamedTuple):
    """Where one ranker put an item (from 1), and its score there."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """An item that was found, its score, what each ranker said of it (`single`, `window`, `lexical`), its factors."""

    item: Item
    score: float
    said: Mapping[str, Said]
    factors: Mapping[str, float]


class _Ranking:
    """Rows, best first, and their scores."""

    def __init__(self, rows: Rows, scores: Scores) -> None:
        self.rows = rows
        self._said = dict(zip(rows.tolist(), enumerate(scores.tolist(), 1), strict=True))

    def said(self, row: int) -> Said | None:
        """What the ranker said of `row`."""
        return Said(*self._said[row]) if row in self._said else None


class _Heard(NamedTuple):
    """What one voice of the question found: each ranker's ranking, the factor of persons, and both made one."""

    rankings: Mapping[str, _Ranking]
    person: Scores
    fused: Scores

    def said(self, row: int) -> dict[str, Said]:
        """What each ranker that named `row` said of it."""
        told = {name: ranking.said(row) for name, ranking in self.rankings.items()}
        return {name: said for name, said in told.items() if said is not None}


def recall(
    corpus: Corpus,
    dense: Dense,
    asked: RewrittenQuestion,
    vectors: Matrix,
    *,
    now: datetime,
    limit: int = 50,
    factors: Factors = Factors(),
    painful_at_s: Mapping[int, float] = MappingProxyType({}),
) -> list[Ranked]:
    """The `limit` best of `corpus` for what was asked; only what a ranker named is among them.

    Args:
        corpus: the person's.
        dense: its vectors' indexes.
        asked: the question, from `memory.recall.query_rewriting.put`.
        vectors: unit embeddings of `asked.texts`, in that order.
        now: the moment of asking.
        limit: how many.
        factors: how far they move ranks.
        painful_at_s: when a row was marked as painful, in seconds since 1970, of those that were.

    """
    if not len(corpus):
        return []
    heard = _hear(corpus, dense, asked, vectors, factors)
    asked_for = interval(asked.question, now)
    plain = np.ones(len(corpus))
    time = _in_time(corpus, asked_for, factors) if asked_for else plain
    recency = plain if asked_for else _recency(corpus, now, factors)
    painful = _painful(corpus, painful_at_s, now, factors)
    each_voice = np.stack([each.fused for each in heard])
    scores = each_voice.max(axis=0) * time * recency * painful
    found = []
    for row in best_first(scores, limit).tolist():
        best = heard[int(each_voice[:, row].argmax())]
        moved = {"person": float(best.person[row]), "time": float(time[row]), "recency": float(recency[row])}
        moved["painful"] = float(painful[row])
        found.append(Ranked(corpus.items[row], float(scores[row]), best.said(row), moved))
    return found


def _hear(corpus: Corpus, dense: Dense, asked: RewrittenQuestion, vectors: Matrix, factors: Factors) -> list[_Heard]:
    """Rank for every voice of the question."""
    depth = min(DEPTH, len(corpus))
    nearest = {"single": dense.single.search(vectors, depth), "window": dense.window.search(vectors, depth)}
    lexical = _lexical(corpus, asked.question)
    heard = []
    for voice in asked.voices:
        place = asked.texts.index(voice.text)
        rankings = {name: _of_voice(corpus, seen, place) for name, seen in nearest.items()} | {"lexical": lexical}
        person = np.ones(len(corpus))
        if voice.person is not None:
            person[corpus.said_by_others(voice.person)] = factors.others
        fused = reciprocal_rank([ranking.rows for ranking in rankings.values()], len(corpus)) * person
        heard.append(_Heard(rankings, person, fused))
    return heard


def _lexical(corpus: Corpus, question: str) -> _Ranking:
    scores = nearest_mentions(corpus.lexical.by_term(question), corpus.links())
    rows = best_first(scores, DEPTH)
    return _Ranking(rows, scores[rows])


def _of_voice(corpus: Corpus, nearest: tuple[Matrix, Rows], place: int) -> _Ranking:
    """Turns as near to the question in its voice, which is how they are told; memories as near to it as it stands."""
    scores, rows = nearest
    if place == 0:
        found, how_near = rows[0], scores[0]
    else:
        found, how_near = np.concatenate(rows[[0, place]]), np.concatenate(scores[[0, place]])
        of_voice = np.arange(len(found)) >= rows.shape[1]
        wanted = corpus.are_turns(found) == of_voice
        found, how_near = found[wanted], how_near[wanted]
    found, how_near = found[found >= 0], how_near[found >= 0].astype(np.float64)
    order = np.argsort(-how_near, kind="stable")
    return _Ranking(found[order], how_near[order])


def _in_time(corpus: Corpus, asked_for: Interval, factors: Factors) -> Scores:
    at_s = corpus.at_s()
    told_until_s = asked_for.end.timestamp() + factors.told_later_s
    return np.where((at_s >= asked_for.start.timestamp()) & (at_s < told_until_s), factors.in_time, 1.0)


def _recency(corpus: Corpus, now: datetime, factors: Factors) -> Scores:
    age_s = np.maximum(now.timestamp() - corpus.at_s(), 0.0)
    return 1.0 + (factors.newest - 1.0) * 0.5 ** (age_s / factors.half_life_s)


def _painful(corpus: Corpus, painful_at_s: Mapping[int, float], now: datetime, factors: Factors) -> Scores:
    left = np.ones(len(corpus))
    for row, at_s in painful_at_s.items():
        left[row] = max(factors.painful, 0.5 ** (max(0.0, now.timestamp() - at_s) / factors.half_life_s))
    return left
