"""The time that a question names, in five languages."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from memory.times.expressions import interval

NOW = datetime(2024, 3, 6, 15, 30, tzinfo=UTC)  # a Wednesday
ASKED = datetime(2026, 3, 11, 15, 30, tzinfo=timezone(timedelta(hours=1)))
ENTRIES = yaml.safe_load((Path(__file__).parents[3] / "bench/recall/times.yaml").read_text())
LANGUAGES = ("en", "de", "es", "hi", "bn")


@pytest.mark.parametrize(
    ("question", "start", "end"),
    [
        ("What happened on 2023-07-14?", "2023-07-14", "2023-07-15"),
        ("What did she do on 3 June, 2023?", "2023-06-03", "2023-06-04"),
        ("What did she do on the 3rd of June 2023?", "2023-06-03", "2023-06-04"),
        ("And on October 13th, 2023?", "2023-10-13", "2023-10-14"),
        ("What was on 5 March?", "2024-03-05", "2024-03-06"),
        ("What was on March 7?", "2023-03-07", "2023-03-08"),
        ("What was in December 2022?", "2022-12-01", "2023-01-01"),
        ("What did they do in May?", "2023-05-01", "2023-06-01"),
        ("Where was he last february", "2024-02-01", "2024-03-01"),
        ("What did I say today?", "2024-03-06", "2024-03-07"),
        ("What did I say yesterday?", "2024-03-05", "2024-03-06"),
        ("How was last week?", "2024-02-26", "2024-03-04"),
        ("How was last weekend?", "2024-03-02", "2024-03-04"),
        ("What about this month?", "2024-03-01", "2024-04-01"),
        ("Where did we go last year?", "2023-01-01", "2024-01-01"),
        ("Who called two days ago?", "2024-03-04", "2024-03-05"),
        ("Who called 3 months ago?", "2023-12-01", "2024-01-01"),
        ("What broke on Monday?", "2024-03-04", "2024-03-05"),
        ("What broke last Wednesday?", "2024-02-28", "2024-02-29"),
        ("What changed in 2021?", "2021-01-01", "2022-01-01"),
    ],
)
def test_times_are_resolved_against_the_moment_of_asking(question: str, start: str, end: str) -> None:
    """A named time is an interval of whole days."""
    found = interval(question, NOW)
    assert found is not None
    assert (found.start.date().isoformat(), found.end.date().isoformat()) == (start, end)


@pytest.mark.parametrize("language", LANGUAGES)
def test_times_are_read_in_each_language(language: str) -> None:
    """All of the set's questions: days, weeks, seasons, what is to come, and what names no time."""
    for entry in ENTRIES:
        found = interval(entry[language], ASKED)
        times = None if found is None else [found.start, found.end]
        meant = [datetime.fromisoformat(str(each)).replace(tzinfo=ASKED.tzinfo) for each in entry.get("at", ())]
        assert (times or []) == meant, entry[language]


@pytest.mark.parametrize(
    "question",
    ["What may I eat?", "Is it the second one?", "What is on 30 February 2023?", "Who is my friend?", "Room 2019?", ""],
)
def test_what_is_no_time_is_none(question: str) -> None:
    """Words that only look like times, and impossible dates, name no time."""
    assert interval(question, NOW) is None


words = st.sampled_from([word for entry in ENTRIES for language in LANGUAGES for word in entry[language].split()])
numbers = st.sampled_from(["29", "31.", "31st", "0", "999", "2023", "ago", "in", "vor", "hace"])
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=-3))))


@given(st.lists(words | numbers, max_size=8).map(" ".join), moments)
def test_any_question_gives_a_time_or_none(question: str, now: datetime) -> None:
    """Whatever is asked and whenever, nothing is raised, and an interval ends after it begins."""
    found = interval(question, now)
    assert found is None or found.start < found.end
