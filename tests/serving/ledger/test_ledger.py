"""The ledger: every request that begins ends in exactly one row, whatever dies or is down meanwhile."""

import asyncio
import contextlib
import multiprocessing
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from serving import errors
from serving.config.schema import TokenPrice
from serving.ledger.ledger import Ledger
from serving.ledger.pricing import Prices
from serving.protocol.record import RequestRecord
from serving.protocol.usage import Segment
from storage import migrate
from storage.database import AWAY, open_engine
from storage.requests import Dimension, Row, find_request, insert_requests, sum_requests
from storage.tables import Request
from tests.support.databases.postgres_server import PostgresServer

NOW = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
PRICES = Prices(
    {"local": Decimal("0.0005")},
    {"gemini": TokenPrice(input_usd_per_mtok=Decimal("0.075"), output_usd_per_mtok=Decimal("0.3"))},
)


async def nothing(app: str, request: str, tokens: int) -> None:
    """Take note of a lost request."""


def make(directory: Path, engine: AsyncEngine, boot_id: str = "a", **changes: Any) -> Ledger:
    """Return a worker's ledger."""
    usual: dict[str, Any] = {
        "directory": directory / "ledger",
        "boot_id": boot_id,
        "insert": partial(insert_requests, engine),
        "on_lost": nothing,
        "prices": PRICES,
        "write_s": 0.01,
        "sync_s": 0.05,
        "adopt_s": 0.02,
        "max_bytes": 2**30,
    }
    return Ledger(**usual | changes)


def begin(
    ledger: Ledger, request_id: str, app: str = "dev", user: str | None = None, tokens: int = 10
) -> RequestRecord:
    """Begin a request."""
    return ledger.begin(
        request_id=request_id,
        app=app,
        key_id="key",
        end_user=user,
        class_="interactive",
        endpoint="/v1/chat/completions",
        model_asked="bondhu",
        tokens_reserved=tokens,
    )


async def rows_of(engine: AsyncEngine) -> list[Row]:
    """Return all rows."""
    async with engine.connect() as connection:
        return [dict(row._mapping) for row in await connection.execute(select(Request.__table__))]


def die(ledger: Ledger) -> None:
    """Leave the ledger as a killed worker does: the lock is free, the file is there."""
    ledger._journal.close()


async def test_a_request_becomes_a_row_with_all_that_was_counted(engine: AsyncEngine, tmp_path: Path) -> None:
    """Identity from the beginning, counts from the end, durations from the monotonic clock, cost in whole numbers."""
    seconds = iter([100.0, 100.25, 103.0])
    ledger = make(tmp_path, engine, clock=lambda: next(seconds), wall=NOW.timestamp)
    record = begin(ledger, "mine", user="maya\x00")
    record.first_token()
    record.segments.append(Segment("local", "r1", "W8A8", 0, 7, "asked", prompt_tokens=12, engine_s=1.5))
    record.segments.append(Segment("gemini", None, None, 7, 30, "engine lost", prompt_tokens=19, cached_tokens=4))
    record.prompt_tokens, record.cached_tokens, record.completion_tokens = 12, 4, 30
    record.cache, record.status, record.steps = "miss", 200, [{"kind": "tool", "name": "find_songs", "ms": 2.5}]
    record.end("degraded", error_code=None)
    await ledger.flush()
    (row,) = await rows_of(engine)
    assert [segment.pop("model") for segment in row.pop("segments")] == ["local", "gemini"]
    assert row == {
        "id": record.id,
        "request_id": "mine",
        "app": "dev",
        "end_user": "maya",
        "key_id": "key",
        "class": "interactive",
        "endpoint": "/v1/chat/completions",
        "model_asked": "bondhu",
        "model": "gemini",
        "tokens_reserved": 10,
        "steps": [{"kind": "tool", "name": "find_songs", "ms": 2.5}],
        "prompt_tokens": 12,
        "cached_tokens": 4,
        "completion_tokens": 30,
        "cache": "miss",
        "outcome": "degraded",
        "status": 200,
        "error_code": None,
        "started_at": NOW,
        "day": date(2026, 3, 1),
        "latency_s": 3.0,
        "ttft_s": 0.25,
        "cost_microusd": 758,  # 1,500,000 us x 0.0005 + 19 x 0.075 + 23 x 0.3 = 750 + 1.425 + 6.9
    }


@pytest.mark.parametrize(
    ("raised", "outcome", "status", "code"),
    [
        (asyncio.CancelledError(), "aborted", None, None),
        (errors.InvalidRequest("no", code="odd"), "client_error", 400, "odd"),
        (errors.EngineUnavailable("away"), "unavailable", 503, "model_not_ready"),
        (errors.EngineFailed("broke"), "engine_error", 502, "engine_error"),
        (errors.EngineTimeout("slow"), "timeout", 504, "engine_timeout"),
        (ZeroDivisionError(), "internal_error", 500, None),
        (None, "internal_error", 500, None),
    ],
)
async def test_however_a_request_is_left_it_has_ended(
    engine: AsyncEngine,
    tmp_path: Path,
    raised: BaseException | None,
    outcome: str,
    status: int | None,
    code: str | None,
) -> None:
    """The context manager ends what nobody ended, and keeps what was counted until then."""
    ledger = make(tmp_path, engine)
    with contextlib.suppress(BaseException), begin(ledger, "r") as record:
        record.completion_tokens = 5
        if raised is not None:
            raise raised
    await ledger.flush()
    (row,) = await rows_of(engine)
    assert (row["outcome"], row["status"], row["error_code"]) == (outcome, status, code)
    assert row["completion_tokens"] == 5


async def test_the_first_end_counts(engine: AsyncEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second one is a bug that is logged and changes nothing."""
    ledger = make(tmp_path, engine)
    with begin(ledger, "r") as record:
        record.end("ok")
        record.end("timeout")
    await ledger.flush()
    await ledger.flush()
    assert [row["outcome"] for row in await rows_of(engine)] == ["ok"]
    assert "ended twice" in caplog.text


async def test_a_repeated_request_id_is_two_requests(engine: AsyncEngine, tmp_path: Path) -> None:
    """Ids come from clients: each use has its row, asking finds the newest of one's own application."""
    wall = iter([1000.0, 2000.0, 3000.0])
    ledger = make(tmp_path, engine, wall=lambda: next(wall))
    for app, outcome in (("dev", "ok"), ("dev", "timeout"), ("other", "blocked")):
        begin(ledger, "same", app=app).end(outcome)
    await ledger.flush()
    assert len(await rows_of(engine)) == 3
    found = await find_request(engine, app="dev", request_id="same")
    assert found is not None
    assert found["outcome"] == "timeout"
    assert await find_request(engine, app="third", request_id="same") is None


async def test_a_clock_that_jumps_back_moves_dates_only(engine: AsyncEngine, tmp_path: Path) -> None:
    """A request that starts in 2026 and ends in 1970 took as long as it took; both have their row."""
    wall = iter([NOW.timestamp(), 0.0])
    ledger = make(tmp_path, engine, wall=lambda: next(wall))
    first, second = begin(ledger, "1"), begin(ledger, "2")
    first.end("ok")
    second.end("ok")
    await ledger.flush()
    rows = {row["request_id"]: row for row in await rows_of(engine)}
    assert [rows[number]["day"] for number in "12"] == [date(2026, 3, 1), date(1970, 1, 1)]
    assert all(row["latency_s"] >= 0 for row in rows.values())


async def test_a_dead_workers_open_requests_are_lost_and_reported(engine: AsyncEngine, tmp_path: Path) -> None:
    """Ended requests get their row from its journal, open ones a row that says lost; then the journal is gone."""
    dead = make(tmp_path, engine, "dead")
    begin(dead, "done").end("ok")
    open_entry = begin(dead, "open", tokens=70)
    die(dead)
    lost = []

    async def on_lost(app: str, request: str, tokens: int) -> None:
        lost.append((app, request, tokens))

    heir = make(tmp_path, engine, "heir", on_lost=on_lost)
    await heir.adopt()
    await heir.adopt()
    assert {row["request_id"]: row["outcome"] for row in await rows_of(engine)} == {"done": "ok", "open": "lost"}
    assert lost == [("dev", open_entry.id, 70)]
    await heir.close()
    assert not list((tmp_path / "ledger").iterdir())


async def test_an_end_after_the_worker_closed_is_too_late(engine: AsyncEngine, tmp_path: Path) -> None:
    """It writes into no file that was opened since; the request is lost like those of a worker that died."""
    ledger = make(tmp_path, engine, "a")
    record = begin(ledger, "r")
    await ledger.close()
    heir = make(tmp_path, engine, "heir")  # its file gets the number that has become free
    before = (tmp_path / "ledger/heir.journal").read_bytes()
    record.end("ok")
    assert (tmp_path / "ledger/heir.journal").read_bytes() == before
    await heir.adopt()
    assert [row["outcome"] for row in await rows_of(engine)] == ["lost"]


async def test_the_living_are_not_adopted(engine: AsyncEngine, tmp_path: Path) -> None:
    """Another worker's open request stays its own."""
    ledger, other = make(tmp_path, engine, "a"), make(tmp_path, engine, "b")
    record = begin(ledger, "r")
    await other.adopt()
    assert await rows_of(engine) == []
    record.end("ok")
    await ledger.flush()
    assert [row["outcome"] for row in await rows_of(engine)] == ["ok"]


async def test_two_adopters_at_once_double_nothing(engine: AsyncEngine, url: str, tmp_path: Path) -> None:
    """Several workers that find the same journals make each row once and tell of each loss once."""
    lost: Counter[str] = Counter()

    async def on_lost(app: str, request: str, tokens: int) -> None:
        lost[request] += 1

    for boot in ("x", "y"):
        dead = make(tmp_path, engine, boot)
        for number in range(300):
            record = begin(dead, f"{boot}{number}")
            if number % 3:
                record.end("ok")
        die(dead)
    pools = [open_engine(url) for _ in range(4)]
    heirs = [make(tmp_path, pool, f"heir{index}", on_lost=on_lost) for index, pool in enumerate(pools)]
    await asyncio.gather(*(heir.adopt() for heir in heirs))
    rows = await rows_of(engine)
    assert Counter(row["outcome"] for row in rows) == {"ok": 400, "lost": 200}
    assert set(lost.values()) == {1}
    assert set(lost) == {row["id"] for row in rows if row["outcome"] == "lost"}
    for pool in pools:
        await pool.dispose()


async def test_an_adoption_that_fails_is_done_again(engine: AsyncEngine, tmp_path: Path) -> None:
    """When telling of a loss fails, the journal waits; nothing that was done before is doubled."""
    dead = make(tmp_path, engine, "dead")
    begin(dead, "done").end("ok")
    begin(dead, "open")
    die(dead)
    answers = iter([OSError("Redis is away"), None])

    async def on_lost(app: str, request: str, tokens: int) -> None:
        if problem := next(answers):
            raise problem

    heir = make(tmp_path, engine, "heir", on_lost=on_lost)
    with pytest.raises(OSError, match="away"):
        await heir.adopt()
    await heir.adopt()
    assert {row["request_id"]: row["outcome"] for row in await rows_of(engine)} == {"done": "ok", "open": "lost"}


async def test_what_can_never_be_a_row_is_set_aside(
    engine: AsyncEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged line and a row that the database refuses are kept and reported; their neighbours arrive."""
    dead = make(tmp_path, engine, "dead")
    for number in range(4):
        begin(dead, str(number)).end("ok")
    path = tmp_path / "ledger/dead.journal"
    journal = dead._journal
    journal.append({"id": "odd", "outcome": "triumph", "started_at": 0.0, "app": "dev"})
    journal.append({"id": "undated", "outcome": "ok", "started_at": 1e300})
    die(dead)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"outcome":"ok"', b'"outcome":"OK"', 1))
    heir = make(tmp_path, engine, "heir")
    await heir.adopt()
    assert {row["request_id"]: row["outcome"] for row in await rows_of(engine)} == {
        "0": "lost",  # its end is the damaged line
        **dict.fromkeys("123", "ok"),
    }
    aside = (tmp_path / "ledger/dead.rejected").read_text()
    assert len(aside.splitlines()) == 3
    assert all(word in aside for word in ("OK", "triumph", "undated"))
    assert caplog.text.count("cannot become a row") == 3


async def test_postgres_may_go_and_come_back(postgres: PostgresServer, tmp_path: Path) -> None:
    """Requests go on while it is away, in the middle of writing too; afterwards each has its row, once."""
    await asyncio.to_thread(migrate.downgrade, postgres.url)
    await asyncio.to_thread(migrate.upgrade, postgres.url)
    engine = open_engine(postgres.url)
    ledger = make(tmp_path, engine)
    running = asyncio.create_task(ledger.run())
    begun = 0
    for _ in range(3):
        for phase in (postgres.stop, postgres.start):
            changing = asyncio.create_task(asyncio.to_thread(phase))
            while not changing.done() or begun % 100:
                begin(ledger, str(begun)).end("ok")
                begun += 1
                await asyncio.sleep(0.001)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await asyncio.to_thread(postgres.stop)
    begin(ledger, str(begun)).end("ok")
    with pytest.raises(AWAY):
        await ledger.flush()
    await asyncio.to_thread(postgres.start)
    await ledger.flush()
    rows = await rows_of(engine)
    assert Counter(row["request_id"] for row in rows) == Counter(map(str, range(begun + 1)))
    await engine.dispose()


async def test_a_locked_sqlite_holds_nobody_up(tmp_path: Path) -> None:
    """Requests begin and end while another process writes; the rows follow when it is done."""
    file = tmp_path / "bondhu.db"
    url = f"sqlite+aiosqlite:///{file}"
    await asyncio.to_thread(migrate.upgrade, url)
    engine = open_engine(url)
    ledger = make(tmp_path, engine)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    begin(ledger, "0").end("ok")
    flushing = asyncio.create_task(ledger.flush())
    for number in range(1, 100):
        begin(ledger, str(number)).end("ok")
        await asyncio.sleep(0.001)
    assert not flushing.done()
    other.execute("COMMIT")
    other.close()
    await flushing
    await ledger.flush()
    assert len(await rows_of(engine)) == 100
    await engine.dispose()


async def test_a_full_journal_admits_nothing_and_drops_nothing(tmp_path: Path) -> None:
    """From the bound on no request begins, those that run still end; when SQL is back all have their rows."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    engine = open_engine(url)  # no table yet: SQL is "away"
    ledger = make(tmp_path, engine, max_bytes=20_000)
    records = []
    while not ledger.full:
        records.append(begin(ledger, str(len(records))))
    with pytest.raises(errors.LedgerFull):
        begin(ledger, "refused")
    for record in records:
        record.end("ok")
    with pytest.raises(AWAY):
        await ledger.flush()
    assert ledger.full
    await asyncio.to_thread(migrate.upgrade, url)
    await ledger.flush()
    assert not ledger.full
    begin(ledger, "admitted").end("ok")
    await ledger.flush()
    names = [str(number) for number in range(len(records))]
    assert Counter(row["request_id"] for row in await rows_of(engine)) == Counter([*names, "admitted"])
    await engine.dispose()


async def test_sums_are_by_the_requested_groups(engine: AsyncEngine, tmp_path: Path) -> None:
    """Groups, filters, days in UTC, and a half-open span of time."""
    wall = iter([NOW + timedelta(seconds=second) for second in range(4)])
    ledger = make(tmp_path, engine, wall=lambda: next(wall).timestamp())
    for app, user, model in (("a", "u", "local"), ("a", None, "gemini"), ("a", "u", "gemini"), ("b", "u", "local")):
        record = begin(ledger, "r", app=app, user=user)
        record.segments.append(Segment(model, None, None, 0, 10, "asked", prompt_tokens=100, engine_s=1.0))
        record.prompt_tokens, record.completion_tokens = 100, 10
        record.end("ok")
    await ledger.flush()

    async def sums(by: list[Dimension], **filters: Any) -> list[tuple[Any, ...]]:
        found = await sum_requests(engine, by, **filters)
        return [(*(row[name] for name in by), row["requests"], row["cost_microusd"]) for row in found]

    assert await sums([]) == [(4, 500 + 10 + 10 + 500)]  # 100 x 0.075 + 10 x 0.3 = 10.5, to even: 10
    assert await sums(["app"]) == [("a", 3, 520), ("b", 1, 500)]
    assert await sums(["user"], app="a") == [(None, 1, 10), ("u", 2, 510)]
    assert await sums(["day", "model"], app="a") == [
        (date(2026, 3, 1), "local", 1, 500),
        (date(2026, 3, 2), "gemini", 2, 20),
    ]
    assert await sums([], user="u", model="local") == [(2, 1000)]
    assert await sums([], since=NOW, until=NOW + timedelta(seconds=1)) == [(1, 500)]
    assert await sums(["app"], limit=1) == [("a", 3, 520)]
    assert await sums([], app="nobody") == [(0, 0)]


@pytest.mark.parametrize(
    ("segments", "cost_microusd"),
    [
        ([], 0),
        ([Segment("free", None, None, 0, 9, "", prompt_tokens=9, engine_s=9.0)], 0),
        ([Segment("local", None, None, 0, 1, "", engine_s=0.1)], 50),
        ([Segment("gemini", None, None, 0, 1_000_000, "")], 300_000),
        ([Segment("gemini", None, None, 0, 0, "", prompt_tokens=20)], 2),  # 1.5
        ([Segment("gemini", None, None, 0, 0, "", prompt_tokens=60)], 4),  # 4.5
        ([Segment("gemini", None, None, 0, 0, "", prompt_tokens=20)] * 3, 4),  # 4.5: rounded once, not thrice
        ([Segment("cached", None, None, 0, 0, "", prompt_tokens=30, cached_tokens=20)], 12),  # 10 x 1 + 20 x 0.1
    ],
)
def test_costs_are_exact_and_rounded_once(segments: list[Segment], cost_microusd: int) -> None:
    """Integers times decimal prices, half to even at the end."""
    cached = TokenPrice(
        input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2), cached_input_usd_per_mtok=Decimal("0.1")
    )
    prices = Prices(PRICES.engine_second_usd, {**PRICES.tokens, "cached": cached})
    assert prices.cost_microusd(segments) == cost_microusd


def test_whoever_is_killed_each_request_has_one_row(url: str, tmp_path: Path) -> None:
    """Workers killed at random moments, also while they write rows and adopt: no request without a row, none with two.

    What a worker announced as begun has a row, as ended a row with that outcome; everything else is lost, was told, and
    reserved = settled + refunded.
    """
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201 - to repeat a failure
    chance = random.Random(seed)
    fork = multiprocessing.get_context("fork")
    workers: list[Any] = []
    for boot in range(KILLS):
        worker = fork.Process(target=work_until_killed, args=(url, tmp_path, f"w{boot}"))
        worker.start()
        workers.append(worker)
        if len(workers) == 2:
            time.sleep(chance.uniform(0, 0.3))
            victim = workers.pop(chance.randrange(2))
            victim.kill()
            victim.join()
    workers[0].kill()
    workers[0].join()

    rows, lost = asyncio.run(settle_everything(url, tmp_path))
    assert not list((tmp_path / "ledger").glob("*.journal"))
    announced = [line.split() for log in tmp_path.glob("*.log") for line in log.read_text().splitlines()]
    outcomes = {row["request_id"]: row["outcome"] for row in rows}
    assert len(outcomes) == len(rows), "a request has two rows"
    begun = {request for word, request, _ in announced if word == "begun"}
    ended = {request: outcome for word, request, outcome in announced if word == "ended"}
    assert len(begun) > KILLS, "the workers did not get to work"
    assert begun <= set(outcomes)
    assert len(set(outcomes) - begun) <= KILLS, "begun, and killed before it could be announced"
    assert {request: outcomes[request] for request in ended} == ended
    unannounced = [request for request in begun - set(ended) if outcomes[request] != "lost"]
    assert len(unannounced) <= KILLS, "ended, and killed before it could be announced"
    lost |= {row_id: int(tokens) for word, row_id, tokens in announced if word == "lost"}
    refunded = {row["id"]: row["tokens_reserved"] for row in rows if row["outcome"] == "lost"}
    assert lost == refunded
    settled = sum(row["tokens_reserved"] for row in rows if row["outcome"] != "lost")
    assert settled + sum(lost.values()) == sum(row["tokens_reserved"] for row in rows)
    print(f"{len(rows)} requests, {len(refunded)} lost, {KILLS} kills")  # noqa: T201 - what the run covered


KILLS = 40


def work_until_killed(url: str, directory: Path, boot_id: str) -> None:
    """Begin and end requests, some at once, in a process of its own; announces each step after it is done."""
    log = os.open(directory / f"{boot_id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    announce: Callable[..., Any] = lambda *words: os.write(log, (" ".join(words) + "\n").encode())  # noqa: E731
    chance = random.Random(boot_id)

    async def on_lost(app: str, request: str, tokens: int) -> None:
        announce("lost", request, str(tokens))

    async def client(ledger: Ledger, name: str) -> None:
        for number in range(10_000):
            request_id, tokens = f"{boot_id}-{name}-{number}", chance.randrange(1, 100)
            record = begin(ledger, request_id, tokens=tokens)
            announce("begun", request_id, str(tokens))
            await asyncio.sleep(chance.choice([0, 0.001, 0.1]))
            outcome = chance.choice(["ok", "aborted", "timeout"])
            record.end(outcome)
            announce("ended", request_id, outcome)

    async def work() -> None:
        ledger = make(directory, open_engine(url), boot_id, on_lost=on_lost, shrink_bytes=5000)
        async with asyncio.TaskGroup() as group:
            group.create_task(ledger.run())
            for name in "abcdef":
                group.create_task(client(ledger, name))

    asyncio.run(work())


async def settle_everything(url: str, directory: Path) -> tuple[list[Row], dict[str, int]]:
    """Adopt what the dead left; returns all rows, and of which losses was told."""
    lost = {}

    async def on_lost(app: str, request: str, tokens: int) -> None:
        lost[request] = tokens

    engine = open_engine(url)
    ledger = make(directory, engine, "last", on_lost=on_lost)
    await ledger.adopt()
    await ledger.close()
    rows = await rows_of(engine)
    await engine.dispose()
    return rows, lost
