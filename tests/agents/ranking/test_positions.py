"""Ratings that name what was shown by its place; and what is none."""

import pytest

from agents.ranking.positions import pointed_of
from agents.ranking.shown import pointed_at
from agents.ranking.verdict import is_rating, verdict_of

LIKES, NOT, NEVER = (1.0, False), (-0.7, False), (-1.0, True)


@pytest.mark.parametrize(
    ("text", "places", "opinion"),
    [
        ("I like the second one", (2,), LIKES),
        ("like 2", (2,), LIKES),
        ("I love the third song!", (3,), LIKES),
        ("the last one is great", (-1,), LIKES),
        ("Ok, I really like the first and the third", (1, 3), LIKES),
        ("I prefer the second one", (2,), LIKES),
        ("like 1, 2 and 3", (1, 2, 3), LIKES),
        ("not the first", (1,), NOT),
        ("skip 3", (3,), NOT),
        ("skip the 2nd video, please", (2,), NOT),
        ("I don\u2019t like number 4", (4,), NOT),
        ("the first was boring", (1,), NOT),
        ("2 👎", (2,), NOT),
        ("never 1 again", (1,), NEVER),
        ("not the second one again", (2,), NEVER),
        ("I hate the last one", (-1,), NEVER),
        ("দ্বিতীয়টা ভালো লেগেছে", (2,), LIKES),
        ("২ নম্বরটা আমার খুব পছন্দ", (2,), LIKES),
        ("শেষটা দারুণ।", (-1,), LIKES),
        ("প্রথমটা না", (1,), NOT),
        ("তিন নম্বর বাদ দাও", (3,), NOT),
        ("প্রথমটা আর কখনো না", (1,), NEVER),
        ("मुझे दूसरा वाला पसंद है", (2,), LIKES),
        ("नंबर 2 बहुत अच्छा है", (2,), LIKES),
        ("आखिरी वाला बढ़िया है।", (-1,), LIKES),
        ("तीसरा गाना पसंद नहीं आया", (3,), NOT),
        ("२ नंबर वाला छोड़ो", (2,), NOT),
        ("पहला वाला फिर कभी नहीं", (1,), NEVER),
        ("dusra wala pasand hai", (2,), LIKES),
        ("ditiyo ta bhalo legeche", (2,), LIKES),
        ("prothom ta na", (1,), NOT),
    ],
)
def test_what_is_rated_by_its_place(text: str, places: tuple[int, ...], opinion: tuple[float, bool]) -> None:
    """In three languages, in letters and digits of each."""
    found = pointed_of(text)
    assert found is not None
    assert (found.places, (found.reward, found.never)) == (places, opinion)
    assert is_rating(text)
    verdict = verdict_of(text)
    assert verdict is not None
    assert (verdict.reward, verdict.never) == opinion
    items = [{"title": title} for title in ("One", "Two", "Three", "Four", "Last")]
    assert pointed_at(text, items) == [items[place - 1 if place > 0 else place] for place in places]


@pytest.mark.parametrize(
    "text",
    [
        "do you like the second one?",
        "I like the second world war documentaries",
        "what is the first one about",
        "who sings number 2",
        "the second one, who is it by",
        "I like 2 sugars in my tea",
        "not the first time I hear that",
        "my first love was great",
        "I like it here",
        "not today",
        "skip dinner",
        "play the second one",
        "tell me about the third",
        "I like the second season",
        "the first day was awful",
        "never mind",
        "2",
        "the first",
        "I don't want 2 kids",
        "I have 2 cats",
        "প্রথম দিন ভালো লাগেনি",
        "একটা গান শোনাও",
        "এক না",
        "दूसरा दिन अच्छा था",
        "दो गाने",
        "मुझे एक पसंद है",
        "x" * 5000,
    ],
)
def test_what_is_no_such_rating(text: str) -> None:
    """Questions, requests, and talk in which a number stands."""
    assert pointed_of(text) is None
