"""BM25 by term, and what it finds around a turn."""

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.language.terms import Terms
from memory.recall.bm25 import LexicalIndex
from memory.recall.context_windows import Neighbours, nearest_mentions, window_text
from memory.recall.rank_fusion import best_first

WORDS = ("dog", "cat", "piano", "river", "bread", "garden", "moon", "train")
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)


@given(st.lists(texts, min_size=1, max_size=15), texts)
def test_scores_are_those_of_the_library(documents: list[str], question: str) -> None:
    """The terms' scores of an item add up to what bm25s gives it by the same formula and parameters."""
    index, terms = LexicalIndex(k1=0.9, b=0.4), Terms()
    for document in documents:
        index.add(document)
    ours = np.zeros(len(documents))
    for rows, scores in index.by_term(question):
        ours[rows] += scores
    library = bm25s.BM25(method="lucene", k1=0.9, b=0.4, backend="numpy")
    library.index([terms(document) for document in documents], show_progress=False)
    # Lucene drops the constant factor k1 + 1, which changes no order; the library takes words that it knows.
    known = [term for term in terms(question) if term in library.vocab_dict]
    expected = library.get_scores(known) * 1.9 if known else np.zeros(len(documents))
    assert ours == pytest.approx(expected, rel=1e-4)


@given(st.lists(texts, min_size=2, max_size=10), texts)
def test_adding_is_the_same_as_building_anew(documents: list[str], question: str) -> None:
    """An index that was asked in between answers as one that got everything at once."""
    grown, built = LexicalIndex(), LexicalIndex()
    for document in documents:
        list(grown.by_term(question))
        grown.add(document)
    for document in documents:
        built.add(document)
    for one, other in zip(grown.by_term(question), built.by_term(question), strict=True):
        assert one[0].tolist() == other[0].tolist()
        assert one[1].tolist() == other[1].tolist()


def test_forms_of_a_word_are_one_term_and_grammar_is_none() -> None:
    """A question matches other forms of its words, in any script, and not by its words of grammar."""
    assert Terms()("When did she adopt the DOGS?") == Terms()("adopted: a dog")
    assert Terms()("where was it") == []
    assert Terms()("Où est le café_noir") == Terms()("où sont les CAFÉS noirs")


def _talk(*turns: str, conversations: tuple[str, ...] = ()) -> tuple[LexicalIndex, Neighbours]:
    index, neighbours = LexicalIndex(), Neighbours()
    for position, turn in enumerate(turns):
        index.add(turn)
        neighbours.add(conversations[position] if conversations else "one")
    return index, neighbours


def test_a_mention_counts_for_its_neighbours_by_half_a_turn() -> None:
    """A term's score halves with every turn of distance, and four turns away nothing is left."""
    index, neighbours = _talk("hi", "hi", "hi", "hi", "piano", "hi")
    scores = nearest_mentions(index.by_term("the piano"), neighbours.links())
    assert (scores / scores[4]).tolist() == [0, 0.125, 0.25, 0.5, 1, 0.5]


def test_the_nearest_mention_counts_and_not_the_sum() -> None:
    """A turn between two mentions of a term gets half of one."""
    index, neighbours = _talk("piano", "hi", "piano")
    scores = nearest_mentions(index.by_term("piano"), neighbours.links())
    assert scores[1] == scores[0] / 2


def test_terms_of_a_question_meet_in_a_turn_between_them() -> None:
    """A turn next to both words of a question is above one next to only one of them."""
    index, neighbours = _talk("moon", "hi", "train", "hi", "hi", "hi", "hi", "moon", "hi")
    scores = nearest_mentions(index.by_term("moon train"), neighbours.links())
    assert scores[1] > scores[8]


def test_nothing_is_passed_between_conversations() -> None:
    """A mention counts for the turns of its own conversation, also where two were told alternately."""
    index, neighbours = _talk("piano", "hi", "hi", "hi", conversations=("a", "b", "a", "b"))
    scores = nearest_mentions(index.by_term("piano"), neighbours.links())
    assert scores[2] == scores[0] / 2
    assert scores[[1, 3]].tolist() == [0, 0]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=30), st.integers(0, 3))
def test_neighbours_are_of_the_same_conversation_and_in_order(conversations: list[str | None], reach: int) -> None:
    """The turns around one are the nearest of its conversation on each side; what stands alone has none."""
    neighbours = Neighbours()
    for conversation in conversations:
        neighbours.add(conversation)
    for row, conversation in enumerate(conversations):
        own = [each for each, name in enumerate(conversations) if name == conversation]
        index = own.index(row)
        expected = [row] if conversation is None else own[max(0, index - reach) : index + reach + 1]
        assert neighbours.around(row, reach) == expected


def test_a_window_names_its_speakers() -> None:
    """A window's text has a line a turn, with the speaker where there is one."""
    assert window_text([("Ann", "Hi"), (None, "noted")]) == "Ann: Hi\nnoted"


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 45))
def test_the_best_are_found_in_order(scores: list[int], depth: int) -> None:
    """The best come first, of equals the first, and nothing that scores nothing."""
    found = best_first(np.array(scores, dtype=np.float64), depth).tolist()
    expected = sorted((row for row, score in enumerate(scores) if score > 0), key=lambda row: -scores[row])
    assert found == expected[:depth]
