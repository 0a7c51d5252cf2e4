"""No content of a journal and no value in a row holds the ledger up: what cannot be stored is kept and counted."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from serving.ledger.ledger import Ledger
from serving.ledger.pricing import Prices
from serving.ledger.write_ahead_log import HEADER_BYTES, MAX_LINE_BYTES, WriteAheadLog
from storage.requests import insert_requests, sum_requests
from storage.tables import Request

SPOILERS: list[Any] = [2**63, 2**64 - 1, -1, 1e30, True, None, "x", "\0", "y" * 5000, [1], {"a": 1}]
FIELDS = (
    "tokens_reserved",
    "prompt_tokens",
    "cost_microusd",
    "status",
    "latency_s",
    "started_at",
    "app",
    "id",
    "class",
)


async def nothing(app: str, request: str, tokens: int) -> None:
    """Take note of a lost request."""


def make(folder: Path, engine: AsyncEngine, boot_id: str, count: Callable[[int], None] = lambda _: None) -> Ledger:
    """Return a worker's ledger."""
    return Ledger(
        directory=folder,
        boot_id=boot_id,
        insert=partial(insert_requests, engine),
        on_lost=nothing,
        on_reject=count,
        prices=Prices({}, {}),
        write_s=60,
        sync_s=60,
        adopt_s=60,
        max_bytes=2**30,
    )


def begin(ledger: Ledger, request_id: str) -> Any:
    """Begin a request."""
    return ledger.begin(
        request_id=request_id,
        app="dev",
        key_id="key",
        end_user=None,
        class_="interactive",
        endpoint="/v1/chat/completions",
        model_asked="bondhu",
    )


async def names(engine: AsyncEngine) -> set[str]:
    """Return the ids of the requests that have a row."""
    async with engine.connect() as connection:
        return set((await connection.execute(select(Request.request_id))).scalars())


async def test_a_row_that_cannot_be_stored_holds_up_no_other(engine: AsyncEngine, tmp_path: Path) -> None:
    """Every field with every wrong value: the ledger flushes, the good rows are there, sums work, the rest is kept."""
    counted: list[int] = []
    ledger = make(tmp_path, engine, "a", counted.append)
    begin(ledger, "before").end("ok")
    good = next(line.record for line in ledger._journal.lines() if line.record and "outcome" in line.record)
    for number, (field, value) in enumerate((field, value) for field in FIELDS for value in SPOILERS):
        ledger._journal.append(good | {"id": f"spoilt-{number}", "request_id": "odd"} | {field: value})
    begin(ledger, "after").end("ok")
    await ledger.flush()
    assert names_are_there(await names(engine))
    (total,) = await sum_requests(engine, ["app"], app="dev")
    assert total["requests"] >= 2
    kept = (tmp_path / "a.rejected").read_bytes().splitlines()
    assert len(kept) == sum(counted) > len(FIELDS)
    begin(ledger, "later").end("ok")
    await ledger.flush()
    assert "later" in await names(engine)
    assert sum(counted) == len(kept), "nothing is set aside twice"


def names_are_there(found: set[str]) -> bool:
    """Whether both good rows arrived."""
    return {"before", "after"} <= found


@pytest.mark.parametrize("seed", range(12))
async def test_any_bytes_can_be_adopted(engine: AsyncEngine, tmp_path: Path, seed: int) -> None:
    """A dead worker's journal with pieces overwritten by anything is settled and gone; another's rows arrive."""
    chance = random.Random(seed)
    dead = make(tmp_path, engine, "dead")
    for number in range(30):
        entry = begin(dead, f"dead-{number}")
        if number % 3:
            entry.end("ok")
    odd: list[Any] = [{}, {"id": 1}, {"outcome": "ok"}, {"id": "x", "outcome": 5}, {"id": [], "app": {}}]
    for record in odd:
        dead._journal.append(record)
    dead._journal.close()
    path = tmp_path / "dead.journal"
    content = bytearray(path.read_bytes())
    for _ in range(seed):
        at = chance.randrange(len(content))
        content[at : at + chance.randrange(200)] = chance.randbytes(chance.randrange(300))
    path.write_bytes(content)
    other = make(tmp_path, engine, "other")
    begin(other, "of-another").end("ok")
    other._journal.close()
    heir = make(tmp_path, engine, "heir")
    await heir.adopt()
    assert not path.exists()
    assert "of-another" in await names(engine)
    await heir.close()


@pytest.mark.parametrize(
    "content", [b"", b"\n" * 500, b"\0" * 500, b"\xff" * (MAX_LINE_BYTES + 500), b"00000000 {}\n", b"[" * 5000 + b"\n"]
)
async def test_a_file_that_never_was_a_journal_can_be_adopted(
    engine: AsyncEngine, tmp_path: Path, content: bytes
) -> None:
    """An empty file, zeros after a crash of the machine, one endless line."""
    (tmp_path / "dead.journal").write_bytes(content)
    heir = make(tmp_path, engine, "heir")
    await heir.adopt()
    assert not (tmp_path / "dead.journal").exists()
    await heir.close()


def test_a_header_may_say_anything(tmp_path: Path) -> None:
    """A header with a right checksum and a wrong content settles nothing."""
    journal = WriteAheadLog.create(tmp_path / "j.journal")
    journal.close()
    path = tmp_path / "k.journal"
    for record in ({}, {"settled": -5}, {"settled": "-000000000000005"}, {"settled": None}):
        other = WriteAheadLog.create(path)
        other.append(record)
        line = path.read_bytes()[HEADER_BYTES:]
        other.close()
        path.write_bytes(line.ljust(HEADER_BYTES, b"\n"))
        claimed = WriteAheadLog.claim(path)
        assert claimed is not None
        assert claimed.settled == min(HEADER_BYTES, claimed.size_bytes)
        claimed.close()
