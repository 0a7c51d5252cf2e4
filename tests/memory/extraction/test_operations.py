"""Whatever a model answers, what is believed of it stands word for word in what the person said."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.extraction.deduplication import is_near, nearest, normalised
from memory.extraction.operations import Unreadable, question_on, read_answer
from storage.memory.memories import MemoryRecord
from storage.memory.unread_turns import Batch, Turn
from tests.support.servers.model import operation

DAY = datetime(2026, 1, 1, tzinfo=UTC)
OWN = [Turn("a", "user", "I have two cats", DAY), Turn("b", "user", "We moved to Oslo", DAY)]
REPLY = Turn("r", "assistant", "You owe me money", DAY)
KNOWN = MemoryRecord(text="Has a dog", id="k", changed_in=1, created_at=DAY, updated_at=DAY)
QUESTION = question_on(Batch([REPLY], [OWN[0], REPLY, OWN[1]]), OWN, [KNOWN], characters=1000)
PARTS = st.sampled_from(["t1", "t2", "t3", "r", "m1", "m2", "", "two cats", "Oslo", "You owe me", None, 1, 0.5, "\0"])
NAMES = list(operation("t1", "x", "y"))
OPERATIONS = st.one_of(
    PARTS,
    st.dictionaries(st.sampled_from(NAMES), PARTS),
    st.builds(
        lambda turn, quote, op, target, text: operation(turn, quote, text, op=op, target=target),
        PARTS,
        PARTS,
        st.sampled_from(["ADD", "SUPERSEDE", "NOOP", "DELETE"]),
        PARTS,
        PARTS,
    ),
)


@given(st.lists(OPERATIONS))
def test_only_the_persons_own_words_are_believed(operations: list[Any]) -> None:
    """Every decision quotes a turn of theirs, ends only what was shown, and none of the others stops it."""
    decisions, refused = read_answer(json.dumps({"operations": operations}), QUESTION)
    for each in decisions:
        assert each.turn in OWN
        assert each.quote
        assert each.quote in each.turn.text
        assert each.target in (None, KNOWN)
    assert len(decisions) + refused.total() <= len(operations)


@given(st.text())
def test_an_invalid_answer_is_refused_as_such(text: str) -> None:
    """Nothing but Unreadable is raised."""
    with suppress(Unreadable):
        read_answer(text, QUESTION)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"operations": {}}', '{"operations": ["\\ud800"]}'])
def test_other_shapes_cannot_be_read(text: str) -> None:
    """Another kind of JSON is no answer, nor is text that cannot be stored."""
    with pytest.raises(Unreadable):
        read_answer(text, QUESTION)


@pytest.mark.parametrize(
    ("date", "instant"),
    [
        ("2026-01-01", DAY),
        ("2026-01-01T01:00:00+01:00", DAY),
        ("2027-06", datetime(2027, 6, 1, tzinfo=UTC)),
        ("2019", datetime(2019, 1, 1, tzinfo=UTC)),
        ("yesterday", datetime(2025, 12, 31, tzinfo=UTC)),
        ("2027-13", None),
        ("soon", None),
        (None, None),
    ],
)
def test_a_date_that_is_none_is_left_out(date: str | None, instant: datetime | None) -> None:
    """The memory may be right all the same."""
    proposed = operation("t1", "two cats", "Has two cats", event_at=date)
    (decision,), _ = read_answer(json.dumps({"operations": [proposed]}), QUESTION)
    assert decision.event_at == instant


@pytest.mark.parametrize("end", ['{"turn": "t1", "quo', "", ", ", "]"])
def test_what_a_cut_answer_had_finished_counts(end: str) -> None:
    """Also with words around it; without an operation it is no answer."""
    whole = json.dumps(operation("t1", "two cats", "Has two cats"))
    decisions, _ = read_answer('Here it is: {"operations": [' + whole + ", " + end, QUESTION)
    assert [each.text for each in decisions] == ["Has two cats"]
    with pytest.raises(Unreadable):
        read_answer('{"operations": [' + end, QUESTION)


@pytest.mark.parametrize(
    ("message", "quote", "claim", "reason"),
    [
        ("I don't like tea", "like tea", "Likes tea", "denied"),
        ("I like tea", "I like tea", "Does not like tea", "denied"),
        ("I don't like tea", "I don't like tea", "Dislikes tea", None),
        ("I have no siblings", "I have no siblings", "Is an only child", None),
        ("My friend hates tea", "hates tea", "Hates tea", "other_person"),
        ("My friend hates tea", "hates tea", "Their friend hates tea", None),
        ("My friend and I hate tea", "I hate tea", "Hates tea", None),
        ("Mein Bruder mag Tee", "mag Tee", "Mag Tee", "other_person"),
        ("No me gusta el té", "gusta el té", "Le gusta el té", "denied"),
        ("My password is hunter2", "password is hunter2", "Uses hunter2", "secret"),
        ("My card is 4111 1111 1111 1111", "4111 1111 1111 1111", "Has a card", "secret"),
        ("I\u2019m vegan", "I'm vegan", "Is vegan", None),
        ("My son's favourite tea is mint", "favourite tea is mint", "Their favourite tea is mint", "other_person"),
        ("If I moved to Rome I'd learn Italian", "moved to Rome", "Moved to Rome", "supposed"),
        ("I'd buy a boat if I were rich", "buy a boat", "Bought a boat", "supposed"),
        ("Maybe I'll learn Greek", "I'll learn Greek", "Might learn Greek", None),
        ("If I remember right, I was born in Rome", "I was born in Rome", "Was born in Rome", None),
        ("Wenn ich reich wäre, hätte ich ein Boot", "hätte ich ein Boot", "Hat ein Boot", "supposed"),
        ("Wenn ich heimkomme, trinke ich Tee", "trinke ich Tee", "Trinkt Tee beim Heimkommen", None),
        ("Si tuviera un perro, se llamaría Luna", "un perro", "Tiene un perro", "supposed"),
        ("अगर मैं डॉक्टर होती तो अच्छा होता", "डॉक्टर", "डॉक्टर है", "supposed"),
        ("আমি ধনী হলে একটা নৌকা কিনতাম", "নৌকা", "একটা নৌকা আছে", "supposed"),
    ],
)
def test_a_claim_is_what_its_quote_says(message: str, quote: str, claim: str, reason: str | None) -> None:
    """Of the same person, not the opposite, and no secret; typographic quotes are the same."""
    turns = [Turn("a", "user", message, DAY)]
    question = question_on(Batch([], turns), turns, [], characters=1000)
    decisions, refused = read_answer(json.dumps({"operations": [operation("t1", quote, claim)]}), question)
    assert dict(refused) == ({} if reason is None else {reason: 1})
    assert all(each.quote in message for each in decisions)


def test_near_is_not_enough_where_a_word_turns_it() -> None:
    """Equal vectors do not make one of two numbers, names, opposites, or of a thing and its denial."""
    vectors = (np.array([1, 0], np.float32), np.array([1, 0], np.float32))
    same = ("Ann has two cats", "Ann owns two cats")
    assert is_near(*same, vectors)
    assert not is_near(*same, (vectors[0], np.array([0.9, 0.43], np.float32)))
    for other in ("Ann has 3 cats", "Bob has two cats", "Ann has two small cats", "Ann does not have two cats"):
        assert not is_near("Ann has two big cats" if "small" in other else same[0], other, vectors)
    assert not is_near("Cats chase dogs", "Dogs chase cats", vectors)


def test_texts_are_compared_without_case_spaces_and_stops() -> None:
    """But with their words, and with signs that matter."""
    assert normalised(" Likes  Tea. ") == normalised("likes tea")
    assert normalised("likes C++") != normalised("likes C#")


def test_what_shares_words_is_nearest() -> None:
    """The best first; what shares none is not shown at all."""
    assert nearest("my two cats", ["a dog", "cats", "two cats", "a car"], limit=9) == [2, 1]
    assert nearest("my two cats", ["cats", "two cats"], limit=1) == [1]
    assert nearest("anything", [], limit=9) == []
