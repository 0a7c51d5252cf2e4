"""Keys that are guessed cost no SQL each, and keep nobody out who has one."""

import asyncio
from datetime import UTC, datetime

import pytest

from serving.auth.api_keys import REMEMBER_S, ApiKeyAuthenticator
from serving.auth.throttle import BURST, REFILL_S
from serving.errors import TooManyKeys, Unauthenticated
from storage.api_keys import KeyRecord, hash_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
GOOD = ("bd-good", "bd-better")


def record(secret: str) -> KeyRecord:
    """What SQL has of a key."""
    return KeyRecord(secret, "app", "", secret[:7], "standard", False, False, False, NOW, None, None, None)


class Sql:
    """Some keys; counts how often it was asked, and is away while told so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.requests = 0
        self.is_away = False
        self._keys = {hash_key(secret): record(secret) for secret in GOOD}
        self.ring = ApiKeyAuthenticator(self.find, clock=lambda: self.now_s, now=lambda: NOW)

    async def find(self, digest: str, _: datetime) -> KeyRecord | None:
        """Look one up, as a database does: not at once."""
        self.requests += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise OSError("away")
        return self._keys.get(digest)

    async def admit(self, secret: str, address: str = HERE) -> str:
        """How it ends for a key: admitted, unknown, throttled, or away."""
        try:
            await self.ring.admit(f"Bearer {secret}", address)
        except Unauthenticated:
            return "unknown"
        except TooManyKeys:
            return "throttled"
        except OSError:
            return "away"
        return "admitted"


@pytest.fixture
def sql() -> Sql:
    """Return a ring's database."""
    return Sql()


@pytest.mark.parametrize("together", [True, False])
async def test_a_thousand_guesses_cost_a_few_look_ups(sql: Sql, together: bool) -> None:
    """One after another or at once; afterwards one in a while."""
    guesses = [sql.admit(f"bd-guess{number}") for number in range(1000)]
    results = await asyncio.gather(*guesses) if together else [await guess for guess in guesses]
    assert (results.count("unknown"), results.count("throttled")) == (BURST, 1000 - BURST)
    assert sql.requests == BURST
    sql.now_s += 3 * REFILL_S
    assert [await sql.admit(f"bd-later{number}") for number in range(4)] == ["unknown"] * 3 + ["throttled"]


async def test_who_has_a_key_is_let_in_beside_a_guesser(sql: Sql) -> None:
    """From the same address with a key that was good before, again and again; from another with any."""
    assert await sql.admit(GOOD[0]) == "admitted"
    for number in range(2 * BURST):
        await sql.admit(f"bd-guess{number}")
    for _ in range(3):
        sql.now_s += 1.1 * REMEMBER_S  # it has to be looked up again
        for number in range(2 * BURST):
            await sql.admit(f"bd-{sql.now_s}-{number}")
        assert await sql.admit(GOOD[0]) == "admitted"
    assert await sql.admit("bd-more") == "throttled"
    assert await sql.admit(GOOD[1], ELSEWHERE) == "admitted"


async def test_good_keys_use_nothing_up(sql: Sql) -> None:
    """However often they are looked up, and whether or not SQL is there."""
    for _ in range(3 * BURST):
        sql.now_s += 2 * REMEMBER_S
        assert await sql.admit(GOOD[0]) == "admitted"
    sql.is_away = True
    assert {await sql.admit(f"bd-guess{number}") for number in range(3 * BURST)} == {"away"}
    sql.is_away = False
    assert await sql.admit(GOOD[1]) == "admitted"


async def test_a_key_is_looked_up_once_for_all_who_present_it(sql: Sql) -> None:
    """Also when the one who began has left; a burst of requests with a new key is none of guesses."""
    first = asyncio.create_task(sql.admit(GOOD[0]))
    await asyncio.sleep(0)
    others = [asyncio.create_task(sql.admit(GOOD[0])) for _ in range(3 * BURST)]
    await asyncio.sleep(0)
    first.cancel()
    assert set(await asyncio.gather(*others)) == {"admitted"}
    assert sql.requests == 1


async def test_a_wrong_key_that_is_repeated_is_refused_with_the_reason(sql: Sql) -> None:
    """A client that repeats one mistyped key learns that it is wrong, not that there were too many."""
    for _ in range(20 * BURST):
        sql.now_s += 0.1
        assert await sql.admit("bd-mistyped") == "unknown"


async def test_a_network_of_addresses_is_one(sql: Sql) -> None:
    """An IPv6 customer has 2^64 of them; an IPv4 address that is written as IPv6 is the IPv4 one."""
    for number in range(BURST):
        await sql.admit(f"bd-guess{number}", f"2001:db8:0:1::{number:x}")
        await sql.admit(f"bd-mapped{number}", f"::ffff:{HERE}")
    assert await sql.admit("bd-one-more", "2001:db8:0:1:ffff::1") == "throttled"
    assert await sql.admit("bd-one-more", HERE) == "throttled"
    assert await sql.admit("bd-one-more", "2001:db8:0:2::1") == "unknown"
