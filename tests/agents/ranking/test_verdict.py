"""What somebody thinks, from their words."""

import pytest

from agents.ranking.shown import pointed_at
from agents.ranking.verdict import is_rating, verdict_of

ITEMS = [{"title": "One Song"}, {"title": "Another"}, {"title": "Third"}]


@pytest.mark.parametrize(
    ("text", "reward", "never"),
    [
        ("like 2", 1.0, False),
        ("I don't like this", -0.7, False),
        ("skip 1", -0.7, False),
        ("not 1 again", -1.0, True),
        ("not this again", -1.0, True),
        ("never 3 again", -1.0, True),
        ("I hate metal", -1.0, True),
        ("I listened to 1", 0.3, False),
        ("👍", 1.0, False),
    ],
)
def test_words_are_a_verdict(text: str, reward: float, never: bool) -> None:
    """Its sign and strength."""
    verdict = verdict_of(text)
    assert verdict is not None
    assert (verdict.reward, verdict.never) == (reward, never)
    assert is_rating(text)


@pytest.mark.parametrize("text", ["play love songs", "love songs please", "I would like jazz", "not too loud, please"])
def test_a_request_is_no_verdict(text: str) -> None:
    """It asks for something."""
    assert not is_rating(text)


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("like 2", ["Another"]),
        ("the first one is great", ["One Song"]),
        ("I love one song", ["One Song"]),
        ("the last", ["Third"]),
        ("like 9", []),
        ("I like them all", ["One Song", "Another", "Third"]),
        ("great", []),
    ],
)
def test_words_point_at_what_was_shown(text: str, titles: list[str]) -> None:
    """By number, place or title; one that is not there is none."""
    assert [item["title"] for item in pointed_at(text, ITEMS)] == titles
