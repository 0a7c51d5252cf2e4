"""What a model's answer on a message is taken for: never more than the person's own words say, never without asking."""

import json
from typing import Any

import pytest

from memory.intents.detector import Detected, Forget, Lift, Mute, Remember, Unclear, Undo, detect, has_words_of_intents
from memory.intents.model_answer import combined

DOUBTFUL = "It would be good if you could forget my sister"


def says(request: str, about: str = "", *, is_statement: bool = False) -> str:
    """Return a model's answer."""
    return json.dumps({"request": request, "about": about, "is_statement": is_statement})


def found(text: str, answer: str) -> Detected | None:
    """Return what a message is taken for."""
    return combined(text, detect(text), answer)


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        (DOUBTFUL, says("forget", "my sister"), Forget("my sister")),
        ("I'd love it if you'd just forget I like tea", says("forget", "I like tea"), Forget("I like tea")),
        ("My ex? Not to be mentioned to me, ever", says("mute", "My ex"), Mute("My ex")),
        ("Mentioning Sam is fine for me from now on", says("allow_again", "Sam"), Lift("Sam")),
        ("You'd better remember I am vegan", says("remember", "I am vegan"), Remember("I am vegan")),
        ("What I just said, you may forget it", says("forget_that"), Forget(None)),
    ],
)
def test_a_model_finds_what_no_pattern_does(text: str, answer: str, expected: Detected) -> None:
    """In the person's own words."""
    assert detect(text) in (None, Unclear())
    assert found(text, answer) == expected


def test_what_begins_as_a_statement_is_one() -> None:
    """Whatever the model says of it: so what others like stays."""
    intent = found("I'd love it if you'd just forget I like tea", says("forget", "I like tea"))
    assert isinstance(intent, Forget)
    assert (intent.is_clause, intent.by_model) == (True, True)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param(DOUBTFUL, says("forget", "my brother"), id="words that were not said"),
        pytest.param(DOUBTFUL, says("forget", DOUBTFUL), id="the whole message"),
        pytest.param(DOUBTFUL, says("forget", ""), id="nothing named"),
        pytest.param("It would be good if you could forget it", says("forget", "it"), id="a word that names nothing"),
        pytest.param(DOUBTFUL, says("forget_everything"), id="everything, which no pattern found"),
        pytest.param("Forget everything you know about me", says("none"), id="everything, which the model denies"),
        pytest.param("Forget everything you know about me", says("forget_that"), id="less than everything"),
        pytest.param("Forget that I like tea", says("forget_everything"), id="more than was named"),
        pytest.param("Forget that I like tea", says("none"), id="an order that the model denies"),
        pytest.param('She said "you could forget my sister"', says("forget", "my sister"), id="quoted"),
        pytest.param("Translate: you could forget my sister", says("forget", "my sister"), id="after a colon"),
    ],
)
def test_where_it_is_not_certain_the_person_is_asked(text: str, answer: str) -> None:
    """Nothing is done."""
    assert found(text, answer) == Unclear()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Forget that I like tea", says("forget", "tea")),
        ("Forget that I like tea", says("mute", "tea")),
        ("Never mention my ex again.", says("forget", "my ex")),
        ("undo", says("none")),
    ],
)
def test_what_the_patterns_are_sure_of_stands(text: str, answer: str) -> None:
    """A model does not widen it."""
    assert found(text, answer) == detect(text)


@pytest.mark.parametrize(
    "answer",
    ["", "forget", "[]", "null", "{}", '{"request": "wipe", "about": "", "is_statement": false}']
    + [json.dumps({"request": "forget", "about": about, "is_statement": False}) for about in (None, 7, ["my sister"])],
)
def test_garbage_leaves_it_to_the_patterns(answer: str) -> None:
    """Whatever was said."""
    for text in (DOUBTFUL, "Forget that I like tea", "Forget everything you know about me"):
        assert found(text, answer) == detect(text)


def test_an_ordinary_message_is_no_question_to_a_model() -> None:
    """Nor is one that is too long, or code."""
    ordinary: list[Any] = [
        "Hi!",
        "I have a new cat",
        "What is the weather?",
        "x" * 2000 + " forget that",
        "Wie geht's?",
    ]
    assert not any(map(has_words_of_intents, [*ordinary, "`forget that`", "forget\n" * 9]))
    assert all(map(has_words_of_intents, (DOUBTFUL, "undo", "Vergiss das", "Olvida eso")))
    assert found("undo", says("undo")) == Undo()
