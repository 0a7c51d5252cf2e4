"""Messages about nothing recall nothing, and what was said twice counts once."""

import pytest

from memory.language.small_talk import is_small_talk
from memory.recall.duplicates import without_duplicates


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Hi!",
            "Good morning",
            "How are you?",
            "thanks a lot",
            "ok",
            "\U0001f642",
            "Hola, \u00bfqu\u00e9 tal?",
            "Guten Morgen!",
        ),
        *(
            "\u0928\u092e\u0938\u094d\u0924\u0947",
            "\u09b6\u09c1\u09ad \u09b8\u0995\u09be\u09b2",
            "\u4f60\u597d",
            "\u041f\u0440\u0438\u0432\u0435\u0442!",
            "\u0645\u0631\u062d\u0628\u0627",
        ),
    ],
)
def test_greetings_are_small_talk(text: str) -> None:
    """In many languages, and as an emoji."""
    assert is_small_talk(text)


@pytest.mark.parametrize(
    "text", ["Hi, where is Rex?", "Who am I?", "What was it?", "Good coffee", "\u4f60\u597d, Porto"]
)
def test_what_is_about_something_is_not(text: str) -> None:
    """Although it begins with a greeting, or has words of grammar only."""
    assert not is_small_talk(text)


def test_what_was_said_twice_counts_once() -> None:
    """The same words, or nearly; not another number, name, or a denial."""
    long = "On the way home from work I bought two loaves of bread for us"
    texts = [
        "I like tea",
        "i like tea!",
        "Tea I like",
        long,
        long + " really",
        long.replace("two", "three"),
        "I like tea not",
    ]
    assert list(without_duplicates(texts, str)) == [texts[0], *texts[2:4], *texts[5:]]
