"""Recall over a small past, with vectors that are bags of words: near is what shares words."""

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.language.terms import Terms
from memory.recall.corpus import Corpus, Item
from memory.recall.query_rewriting import rewrite
from memory.recall.ranking import Dense, Factors, Matrix, Ranked, recall
from memory.recall.rerank import RerankerAway, reranked
from memory.recall.token_budget import within_budget

NOW = datetime(2024, 3, 6, 15, tzinfo=UTC)
DIMENSIONS = 256


def word_vectors(texts: Sequence[str]) -> Matrix:
    """Unit vectors in which every word has a place of its own (up to collisions)."""
    vectors = np.full((len(texts), DIMENSIONS), 1e-6, dtype=np.float32)
    for row, text in enumerate(texts):
        for term in Terms()(text):
            vectors[row, zlib.crc32(term.encode()) % DIMENSIONS] += 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def remember(*items: Item) -> tuple[Corpus, Dense]:
    """A corpus of `items` and its indexes."""
    corpus = Corpus()
    for item in items:
        corpus.add(item)
    indexes = [faiss.IndexFlatIP(DIMENSIONS), faiss.IndexFlatIP(DIMENSIONS)]
    if items:
        indexes[0].add(word_vectors([item.text for item in items]))
        indexes[1].add(word_vectors([corpus.window(row) for row in range(len(corpus))]))
    return corpus, Dense(*indexes)


def ask(question: str, *items: Item, speaker: str | None = None, factors: Factors | None = None) -> list[Ranked]:
    """What is found for a question about `items`."""
    corpus, dense = remember(*items)
    query = rewrite(question, corpus.people, speaker=speaker)
    vectors = word_vectors(query.texts)
    return recall(corpus, dense, query, vectors, now=NOW, factors=factors or Factors())


def turn(id_: str, text: str, *, speaker: str = "Ann", days_ago: float = 10, conversation: str = "one") -> Item:
    """Something that was said."""
    return Item(id_, "turn", text, NOW - timedelta(days=days_ago), speaker, conversation)


def ids(found: Sequence[Ranked]) -> list[str]:
    """Which were found, best first."""
    return [each.item.id for each in found]


def test_nothing_is_found_in_an_empty_past() -> None:
    """Somebody new has no memories, and asking is no error."""
    assert ask("What is my dog called?") == []


def test_every_ranker_tells_its_rank_and_score() -> None:
    """What is found carries each ranker's word: rank from 1, and score."""
    found = ask("piano lessons", turn("a", "piano lessons"), turn("b", "bread", conversation="two"))
    assert set(found[0].by_ranker) == {"single", "window", "lexical"}
    assert {by_ranker.rank for by_ranker in found[0].by_ranker.values()} == {1}
    assert found[0].by_ranker["single"].score == pytest.approx(1.0, abs=1e-3)
    assert "lexical" not in found[1].by_ranker


def test_what_a_person_said_is_above_what_others_said_about_it() -> None:
    """A question that names a speaker prefers that speaker's words."""
    past = (
        turn("asked", "Ann, did you adopt a dog?", speaker="Bob"),
        turn("told", "adopt a dog, that is what happened", speaker="Ann", conversation="two"),
    )
    assert ids(ask("When did Ann adopt a dog?", *past)) == ["told", "asked"]
    assert ids(ask("When did Bob adopt a dog?", *past)) == ["asked", "told"]


def test_who_asks_is_preferred_in_questions_about_oneself() -> None:
    """The word "I" means the one who asks."""
    past = (turn("bob", "my dog sleeps", speaker="Bob"), turn("ann", "my dog sleeps", conversation="two"))
    assert ids(ask("Where does my dog sleep?", *past, speaker="Ann")) == ["ann", "bob"]
    assert ids(ask("Where does my dog sleep?", *past, speaker="Bob")) == ["bob", "ann"]


def test_of_a_relative_anybody_may_tell() -> None:
    """What the brother says of the mother counts as much as what the asker says."""
    past = (
        turn("tom", "my mother's operation went well", speaker="Tom"),
        turn("ann", "an operation is planned", conversation="two"),
    )
    found = ask("How did my mother's operation go?", *past, speaker="Ann")
    assert [(each.item.id, each.factors["person"]) for each in found] == [("tom", 1.0), ("ann", 1.0)]
    found = ask("How did I like my mother's operation?", *past, speaker="Ann")
    assert {each.item.id: each.factors["person"] for each in found} == {"tom": pytest.approx(1 / 3), "ann": 1.0}


def test_a_question_about_two_finds_the_words_of_both() -> None:
    """Neither of two who are named counts for less."""
    past = (turn("ann", "I paint boats"), turn("bob", "I paint boats", speaker="Bob", conversation="two"))
    found = ask("What do Ann and Bob both paint?", *past)
    assert {each.item.id: each.factors["person"] for each in found} == {"ann": 1.0, "bob": 1.0}


def test_an_answer_is_found_by_the_words_of_its_question() -> None:
    """A turn that shares no word with the question is found through its neighbour."""
    past = (
        turn("q", "What instrument do you play?", speaker="Bob"),
        turn("a", "The cello!"),
        turn("else", "The moon!", conversation="two"),
    )
    assert ids(ask("Which instrument does Ann play?", *past))[0] == "a"


def test_items_of_the_questions_time_come_first() -> None:
    """Of the same words, those of the named time; recency has no say then."""
    past = (
        turn("new", "went to the beach", days_ago=1),
        turn("old", "went to the beach", days_ago=240, conversation="2"),
    )
    found = ask("Who went to the beach in July?", *past)
    assert ids(found) == ["old", "new"]
    assert {each.factors["recency"] for each in found} == {1.0}


def test_of_equals_the_newer_comes_first() -> None:
    """Without a named time newer things count a little more."""
    past = (
        turn("old", "went to the beach", days_ago=240),
        turn("new", "went to the beach", days_ago=1, conversation="2"),
    )
    assert ids(ask("Who went to the beach?", *past)) == ["new", "old"]


@settings(max_examples=50)
@given(st.lists(st.floats(-10, 5000), min_size=1, max_size=8))
def test_recency_is_bounded(ages_days: list[float]) -> None:
    """However old or, by a wrong clock, new: the factor stays between 1 and its bound."""
    past = [turn(str(index), "beach", days_ago=age, conversation=str(index)) for index, age in enumerate(ages_days)]
    for each in ask("beach", *past):
        assert 1.0 <= each.factors["recency"] <= Factors().newest


def test_memories_are_found_beside_turns() -> None:
    """A memory is asked by the question as it stands, for it is told of a person and not by one."""
    memory = Item("m", "memory", "Ann adopted the dog Rex", NOW, "Ann")
    found = ask("Which dog did Ann adopt?", memory, turn("t", "sunny today"))
    assert ids(found)[0] == "m"
    assert found[0].factors["person"] == 1.0
    assert found[0].by_ranker["single"].score > 0.5


def test_only_the_best_are_returned() -> None:
    """No more than asked for."""
    corpus, dense = remember(*(turn(str(index), "beach") for index in range(20)))
    query = rewrite("beach", corpus.people)
    assert len(recall(corpus, dense, query, word_vectors(query.texts), now=NOW, limit=7)) == 7


def test_a_budget_takes_the_best_that_fit() -> None:
    """Over-long items are passed over, the order stays, and the budget is kept."""
    found = ask("beach", *(turn(str(index), "beach " * (index + 1), conversation=str(index)) for index in range(4)))

    def words(text: str) -> int:
        return len(text.split())

    kept = within_budget(found, 4, words)
    assert sum(words(each.item.text) for each in kept) <= 4
    assert [each for each in found if each in kept] == kept
    assert all(words(each.item.text) > 4 - sum(words(k.item.text) for k in kept) for each in found if each not in kept)
    assert within_budget(found, 0, words) == []


class ByLength:
    """A cross-encoder that likes long texts."""

    def __init__(self, max_candidates: int) -> None:
        self.max_candidates = max_candidates
        self.is_away = False

    async def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """The texts' lengths."""
        if self.is_away:
            raise RerankerAway
        return [float(len(text)) for text in texts]


async def test_a_cross_encoder_joins_the_ranking_of_the_head() -> None:
    """Its order and the one before make one by reciprocal rank, which each item's score and rankers tell."""
    found = ask("beach", *(turn(str(index), "beach " + "x" * index, conversation=str(index)) for index in range(6)))
    again = await reranked(ByLength(4), "beach", found)
    assert {each.item.id for each in again[:4]} == {each.item.id for each in found[:4]}
    assert ids(again[4:]) == ids(found[4:])
    assert [each.score for each in again] == sorted((each.score for each in again), reverse=True)
    by_length = sorted(found[:4], key=lambda each: -len(each.item.text))
    for each in again[:4]:
        before = next(rank for rank, other in enumerate(found, 1) if other.item.id == each.item.id)
        by_ranker = each.by_ranker["cross_encoder"]
        assert by_length[by_ranker.rank - 1].item.id == each.item.id
        assert by_ranker.score == len(each.item.text)
        assert each.score == pytest.approx(1 / (10 + before) + 1 / (10 + by_ranker.rank))
    assert all("cross_encoder" not in each.by_ranker for each in again[4:])


async def test_without_its_cross_encoder_recall_is_as_it_was() -> None:
    """Away, or with nothing to look at, it changes nothing."""
    found = ask("beach", turn("a", "beach"), turn("b", "a long walk on the beach", conversation="two"))
    encoder = ByLength(30)
    assert await reranked(encoder, "beach", []) == []
    encoder.is_away = True
    assert await reranked(encoder, "beach", found) == found
