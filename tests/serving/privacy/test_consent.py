"""People's own consent: how it is kept, and what holds for a request."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from serving.privacy.consent import REMEMBER_S, Allowed, Consents
from serving.protocol.request import CHAT, GenerationRequest
from storage import consents
from storage.consents import ConsentRecord
from storage.database import open_engine

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
YES = ConsentRecord(True, False, NOW)
NO = ConsentRecord(False, False, NOW)
ALL = ConsentRecord(True, True, NOW)


def new_request(user: str | None = "maya", *, external: bool = True, sensitive: bool = True) -> GenerationRequest:
    """A request of a key that allows this."""
    return GenerationRequest(CHAT, {}, "m", "r", "diary", user, "interactive", external, sensitive)


class Table:
    """What SQL says, and how often it was asked; `now` is the clock."""

    def __init__(self, answer: ConsentRecord | None) -> None:
        self.answer = answer
        self.requests = 0
        self.was_looked_up = asyncio.Event()
        self.now = 0.0
        self.problem: Exception | None = None
        self.gate: asyncio.Event | None = None

    def consents(self, *, app_covers_users: bool = False) -> Consents:
        """A worker's knowledge of it."""
        return Consents(self._find, app_covers_users=lambda: app_covers_users, clock=lambda: self.now)

    async def _find(self, app: str, user: str) -> ConsentRecord | None:
        self.requests += 1
        self.was_looked_up.set()
        read = self.answer
        if self.problem:
            raise self.problem
        if self.gate:
            await self.gate.wait()
        return read


async def test_an_answer_is_kept_replaced_and_forgotten(engine: AsyncEngine) -> None:
    """The last answer counts, another application's person of the same name has none, and forgetting leaves nothing."""
    assert await consents.find_consent(engine, app="diary", user="maya") is None
    for minutes, (external, sensitive) in enumerate([(True, True), (False, False), (True, False)]):
        now = NOW + timedelta(minutes=minutes)
        consent = {"allow_external": external, "allow_sensitive": sensitive}
        made = await consents.set_consent(engine, app="diary", user="maya", **consent, now=now)
        assert await consents.find_consent(engine, app="diary", user="maya") == made
        assert made == ConsentRecord(external, sensitive, now)
    assert await consents.find_consent(engine, app="shop", user="maya") is None
    await consents.forget_consent(engine, app="diary", user="maya")
    assert await consents.find_consent(engine, app="diary", user="maya") is None


@pytest.mark.parametrize(
    ("own", "covers", "generation", "allowed"),
    [
        (None, False, new_request(), (False, False)),
        (None, True, new_request(), (True, True)),
        (None, True, new_request(sensitive=False), (True, False)),
        (YES, False, new_request(), (True, False)),
        (ALL, False, new_request(), (True, True)),
        (ALL, False, new_request(sensitive=False), (True, False)),
        (ALL, True, new_request(external=False), (False, False)),
        (NO, True, new_request(), (False, False)),
        (None, False, new_request(None), (True, True)),
        (None, False, new_request(None, sensitive=False), (True, False)),
        (None, False, new_request(None, external=False), (False, False)),
    ],
)
async def test_the_stricter_of_key_and_person_holds(
    own: ConsentRecord | None, covers: bool, generation: GenerationRequest, allowed: tuple[bool, bool]
) -> None:
    """Who was never asked said no, unless the configuration says that the key answers for them."""
    decision = await Table(own).consents(app_covers_users=covers).allowed(generation)
    assert (decision.external, decision.sensitive) == allowed


async def test_sql_is_asked_only_for_who_matters_and_once_in_a_while() -> None:
    """A key that says no needs no look-up; an answer is remembered for REMEMBER_S, a "never asked" too."""
    table = Table(None)
    known = table.consents()
    await known.allowed(new_request(external=False))
    await known.allowed(new_request(None))
    assert table.requests == 0
    for table.now in (0.0, REMEMBER_S):
        await known.allowed(new_request())
    assert table.requests == 1
    table.now, table.answer = REMEMBER_S + 0.1, ALL
    assert (await known.allowed(new_request())).external


async def test_a_change_through_this_worker_holds_at_once() -> None:
    """What was remembered no longer counts."""
    table = Table(YES)
    known = table.consents()
    assert await known.allowed(new_request()) == Allowed(True, False, "user")
    table.answer = NO
    known.changed("diary", "maya")
    assert await known.allowed(new_request()) == Allowed(False, False, "user")


async def test_a_look_up_that_a_withdrawal_overtakes_is_repeated() -> None:
    """A yes that was read before the withdrawal was stored lets nothing out after it, and is not remembered."""
    table = Table(YES)
    table.gate = asyncio.Event()
    known = table.consents()
    asking = asyncio.create_task(known.allowed(new_request()))
    await table.was_looked_up.wait()
    table.answer = NO
    known.changed("diary", "maya")
    table.gate.set()
    assert not (await asking).external
    assert not (await known.allowed(new_request())).external


async def test_a_database_that_is_away_means_no(tmp_path: Path) -> None:
    """However generous the configuration is; afterwards the person's answer counts again."""
    table = Table(ALL)
    table.problem = OSError("away")
    known = table.consents(app_covers_users=True)
    assert await known.allowed(new_request()) == Allowed(False, False, "user")
    table.problem = None
    assert await known.allowed(new_request()) == Allowed(True, True, "user")
    unmigrated = open_engine(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")
    broken = Consents(
        lambda app, user: consents.find_consent(unmigrated, app=app, user=user), app_covers_users=lambda: True
    )
    assert not (await broken.allowed(new_request())).external
    await unmigrated.dispose()
