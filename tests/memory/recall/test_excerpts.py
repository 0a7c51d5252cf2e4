"""A text that is too long for a prompt is told by the part that the question is about."""

from hypothesis import given
from hypothesis import strategies as st

from memory.recall.excerpts import excerpt

LONG = "We talked all day. The weather was fine. My parrot is called Kiwi. He sings. " + "Nothing else happened. " * 40


def count(text: str) -> int:
    """Return the tokens of a text, as the gateway estimates them."""
    return -(-len(text.encode()) // 3)


def test_the_requested_part_is_shown() -> None:
    """With what stands beside it, as far as it fits, and with signs of what is missing."""
    part = excerpt(LONG, "What is the parrot called?", 25, count)
    assert "My parrot is called Kiwi." in part
    assert part[0] == part[-1] == "\u2026"
    assert excerpt("Short.", "Anything?", 25, count) == "Short."


@given(st.text(max_size=400), st.text(max_size=40), st.integers(2, 60))
def test_it_always_fits(text: str, question: str, max_tokens: int) -> None:
    """Whatever the text and the question."""
    assert count(excerpt(text, question, max_tokens, count)) <= max_tokens
