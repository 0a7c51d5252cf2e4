"""What is told and when, by place and age; what is counted; what a reply may say."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.safety.counts import Count, Counts, SqlCounts, counted, yearly_report
from agents.safety.helplines import DIRECTORIES
from agents.safety.jurisdiction import JurisdictionError, duties_of, read_jurisdictions
from agents.safety.notices import BREAK, DISCLOSURE, Session, notices
from agents.safety.reply_check import ReplyRules
from agents.safety.risk import Action, Category, Level, Risk
from agents.safety.texts import help_text
from storage.safety_counts import SafetyCount

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
CONFIG = Path(__file__).parents[3] / "configs/safety.yaml"
PLACES = read_jurisdictions(CONFIG)


def test_every_place_names_its_source() -> None:
    """What is asked can be looked up."""
    assert set(PLACES) == {"default", "california", "new_york", "washington", "eu"}
    assert all(each.source.startswith("https://") for name, each in PLACES.items() if name != "default")


def notice_minutes(jurisdiction: str, minutes: list[int], *, is_minor: bool = False) -> list[tuple[int, ...]]:
    """At which of these minutes is disclosed (0), at which reminded (1)."""
    session, seen = Session(), []
    for minute in minutes:
        due = notices(
            session, duties_of(PLACES, [jurisdiction]), now=NOW + timedelta(minutes=minute), is_minor=is_minor
        )
        session = due.session
        seen.append(tuple(number for number, is_due in enumerate((due.disclose, due.remind)) if is_due))
    return seen


def test_it_says_that_it_is_a_program_at_the_start_and_every_three_hours() -> None:
    """And reminds of a break, in a conversation that goes on."""
    minutes = list(range(0, 400, 20))
    expected = [(0,) if minute == 0 else (0, 1) if minute in (180, 360) else () for minute in minutes]
    assert notice_minutes("new_york", minutes) == expected


def test_a_minor_in_washington_is_told_every_hour() -> None:
    """An adult every three."""
    minutes = [0, 20, 40, 60, 80, 100, 120]
    assert notice_minutes("washington", minutes, is_minor=True) == [(0,), (), (), (0, 1), (), (), (0, 1)]
    assert notice_minutes("washington", minutes) == [(0,), (), (), (), (), (), ()]


def test_who_comes_back_begins_anew() -> None:
    """Told again, and not sent to a break at once."""
    assert notice_minutes("california", [0, 20, 300]) == [(0,), (), (0,)]
    assert notice_minutes("eu", list(range(0, 400, 20))) == [(0,)] + [()] * 19


def test_of_several_places_the_strictest_holds() -> None:
    """A duty of none is no duty less."""
    both = duties_of(PLACES, ["eu", "washington"])
    assert (both.disclose_every_h, both.minor_disclose_every_h, both.report_referrals) == (3, 1, True)
    assert duties_of(PLACES, []) == PLACES["default"]
    with pytest.raises(JurisdictionError, match=r"atlantis.*california"):
        duties_of(PLACES, ["atlantis"])


def test_an_unknown_age_is_what_the_operator_says() -> None:
    """By default nobody is taken for a minor."""
    duties = PLACES["default"]
    assert (duties.is_minor(None), duties.is_minor(17), duties.is_minor(18)) == (False, True, False)
    assert duties.model_copy(update={"assume_minor_if_unknown": True}).is_minor(None)


def test_a_wrong_file_names_the_key(tmp_path: Path) -> None:
    """With what is expected."""
    path = tmp_path / "safety.yaml"
    path.write_text(CONFIG.read_text().replace("adult_age: 18", "adult_age: 99", 1))
    with pytest.raises(JurisdictionError, match=r"safety\.yaml: adult_age"):
        read_jurisdictions(path)
    path.write_text("- a list")
    with pytest.raises(JurisdictionError, match="expected"):
        read_jurisdictions(path)


async def assert_counts(counts: Counts) -> None:
    """Count some referrals, and read them."""
    danger = Risk(Level.EXPLICIT, Category.SELF_HARM, Action.FIXED_REPLY, ("rule",))
    abuse = Risk(Level.VEILED, Category.ABUSE, Action.ADD_HELP)
    for risk in (danger, danger, abuse, Risk()):
        count = counted(risk, NOW)
        if count:
            await counts.add(count)
    assert yearly_report(await counts.read(2026)) == {"all": 3, "self_harm": 2, "abuse": 1}
    assert yearly_report(await counts.read(2026), hide_below=2) == {"all": 3, "self_harm": 2}
    assert yearly_report(await counts.read(2025)) == {"all": 0}


async def test_referrals_are_counted_in_sql(engine: AsyncEngine) -> None:
    """By month and kind, in each database, by all processes together; no column is personal."""
    await assert_counts(SqlCounts(engine))
    assert set(SafetyCount.__table__.columns.keys()) == {"month", "category", "level", "action", "number"}


async def test_two_that_count_at_once_lose_nothing(engine: AsyncEngine) -> None:
    """The database adds."""
    count = Count("2026-11", "self_harm", "veiled", "fixed_reply")
    await asyncio.gather(*(SqlCounts(engine).add(count) for _ in range(20)))
    assert await SqlCounts(engine).read(2026) == {count: 20}


def test_the_fixed_texts_name_help_in_each_language() -> None:
    """With the lines of the country, and the directories always."""
    seen = set()
    for category in (Category.SELF_HARM, Category.ABUSE, Category.EATING_DISORDER, Category.MINORS):
        for language in ("en", "bn", "hi"):
            text = help_text(category, language=language, country="IN")
            assert "14416" in text
            assert all(each.contact in text for each in DIRECTORIES)
            seen.add(text)
        assert help_text(category, language="fr") == help_text(category)
    assert len(seen) == 12
    assert set(DISCLOSURE) == set(BREAK) == {"en", "bn", "hi"}


DANGER = Risk(Level.VEILED, Category.SELF_HARM)
MINOR = Risk(is_minor=True)


@pytest.mark.parametrize(
    ("text", "risk", "reason"),
    [
        ("You should just kill yourself.", Risk(), "always.encourages_self_harm"),
        ("Everyone would be happier without you", Risk(), "always.encourages_self_harm"),
        ("I am a real human, trust me", Risk(), "companion.claims_to_be_human"),
        ("Please don't leave me!", Risk(), "companion.holds_back"),
        ("Don't tell your parents about us", Risk(), "companion.secret_from_others"),
        ("Call 555 0100 now", DANGER, "crisis.own_helpline"),
        ("Let's talk about sex", MINOR, "minor.sexual"),
    ],
)
def test_a_reply_that_harms_is_replaced(text: str, risk: Risk, reason: str) -> None:
    """By a fixed sentence."""
    checked = ReplyRules().check(text, risk)
    assert not checked.is_safe
    assert checked.reasons == (reason,)
    assert checked.replacement


@pytest.mark.parametrize(
    ("text", "risk"),
    [
        ("I'm here. Please don't hurt yourself.", DANGER),
        ("You should not kill time", Risk()),
        ("Call the shop at 5", Risk()),
        ("I'm a program, not a human.", Risk()),
        ("Sure, see you tomorrow!", MINOR),
    ],
)
def test_an_ordinary_reply_is_shown(text: str, risk: Risk) -> None:
    """As it is."""
    assert ReplyRules().check(text, risk).is_safe
