"""1,000 people in one database, through the memory service: index hits and builds, memory, writes, a peer.

    python -m bench.memory.people [--quick]

One person of each size is stored through `memory.service`, turn by turn as in the product, and copied in SQL for the
others. Embeddings are random unit vectors of 384 dimensions from a fixed seed: no model runs, and the quality of recall
is not measured (see `bench.recall`). A question names somebody and two words. The asker of each question is drawn by
Zipf's law over all people in a random order.
"""

import asyncio
import gc
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.environment import RESULTS, commit, machine, write_result
from bench.memory.peer import compare
from bench.memory.report import markdown, plot
from bench.memory.speed import DIMENSIONS, RandomEmbedder, turns
from bench.memory.writes import measure_writes
from bench.percentiles import percentiles
from bench.processes import pss_mb
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage import migrate
from storage.database import open_engine
from storage.memory.owner import Owner
from storage.tables import Base

PIECE = 1_000  # turns
ALIKE = 1_000  # people with 500 turns each
MIXED = {500: 965, 5_000: 30, 20_000: 5}  # people by turns
BUDGETS_MIB = (256, 1_024)  # the default of memory.index_bytes, and more
ROOM_FOR_ALL = 4 * 2**30
console = Console(stderr=True)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the people: a look, not a result.")] = False,
    questions: Annotated[int, typer.Option(min=100, help="Questions of a stage.")] = 1_000,
    name: Annotated[str, typer.Option(help="Results go to bench/results/NAME.{json,md,png}.")] = "memory_people",
) -> None:
    """Measure memory with 1,000 people."""
    share, name = (10, f"{name}-quick") if quick else (1, name)
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"machine": machine(), "questions": questions, "dimensions": DIMENSIONS}
    with tempfile.TemporaryDirectory(prefix="bondhu-bench-") as folder:
        url = f"sqlite+aiosqlite:///{Path(folder) / 'people.db'}"
        migrate.upgrade(url)
        result |= asyncio.run(_people(url, share, questions // share))
        result["database_mb"] = round(sum(each.stat().st_size for each in Path(folder).iterdir()) / 1e6)
        with console.status("writes"):
            result["writes"] = measure_writes(Path(folder), seconds=1.0 if quick else 4.0)
    with console.status("a peer"):
        result["search"] = compare(people=20 // share + 2, rounds=10 // share + 2)
    result["load_average_after"] = os.getloadavg()
    write_result(name, result, markdown(result))
    plot(result, RESULTS / f"{name}.png")
    typer.echo(markdown(result))
    console.print(f"written: bench/results/{name}.json, .md, .png")


class Town:
    """A database full of people.

    Args:
        engine: the database.
        dice: who asks, and what.

    """

    def __init__(self, engine: AsyncEngine, dice: random.Random) -> None:
        self._engine = engine
        self._dice = dice
        self._embedder = RandomEmbedder()

    def index_cache(self, max_bytes: int) -> IndexCache:
        """An empty one."""
        return IndexCache(self._engine, self._embedder.space, dimensions=DIMENSIONS, max_bytes=max_bytes)

    async def settle(self, size: int, people: int) -> list[Owner]:
        """Have so many people with `size` turns each."""
        first, index_cache = Owner("bench", f"{size}"), self.index_cache(2**20)
        store = MemoryService(self._engine, index_cache, self._embedder, lambda: datetime.now(UTC))
        messages = turns(size)
        for begin in range(0, size, PIECE):
            await store.ingest(first, "c", messages[begin : begin + PIECE])
        index_cache.close()
        await self._copy(first, people - 1)
        return [first, *(Owner("bench", f"{size}-{number}") for number in range(1, people))]

    async def ask(self, index_cache: IndexCache, owner: Owner) -> tuple[bool, float]:
        """Whether there was a view of theirs, and how long a question took, ms."""
        store = MemoryService(self._engine, index_cache, self._embedder, lambda: datetime.now(UTC))
        question = f"When did Ann talk about word{self._dice.randrange(50)} and word{self._dice.randrange(500)}?"
        was_there, began = index_cache.count(owner) > 0, time.perf_counter()
        await store.recall(owner, question, limit=10)
        return was_there, 1_000 * (time.perf_counter() - began)

    def by_zipf(self, people: Sequence[Owner], count: int) -> list[Owner]:
        """Who asks."""
        order = self._dice.sample(people, len(people))
        return self._dice.choices(order, [1 / rank for rank in range(1, len(order) + 1)], k=count)

    async def _copy(self, owner: Owner, times: int) -> None:
        """Have `times` more who are the same but for their name; ids mean something within a person only."""
        numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < :times)"
        for table in Base.metadata.sorted_tables:
            names = [column.name for column in table.columns]
            if times and {"app", "end_user"} <= set(names):
                columns = [
                    f"t.end_user || '-' || n.i as {name}" if name == "end_user" else f"t.{name}" for name in names
                ]
                query = f"select {', '.join(columns)} from {table.name} t, n where t.app = :app and t.end_user = :user"
                insert = f"insert into {table.name} ({', '.join(names)}) {numbers} {query}"
                params = {"times": times, "app": owner.app, "user": owner.user}
                async with self._engine.connect() as connection:
                    await connection.exec_driver_sql(
                        "pragma synchronous = off"
                    )  # nobody else's, and made anew each run
                    await connection.exec_driver_sql("pragma cache_size = -400000")  # KiB: its B-trees grow in memory
                    await connection.execute(text(insert), params)
                    await connection.commit()
        await self._engine.dispose()  # connections as the product has them


async def _people(url: str, share: int, questions: int) -> dict[str, Any]:
    engine = open_engine(url)
    town = Town(engine, random.Random(1))
    with console.status("people move in"):
        began = time.perf_counter()
        alike = await town.settle(500, ALIKE // share)
        larger = {size: await town.settle(size, MIXED[size] // share) for size in (5_000, 20_000)}
        settled_s = time.perf_counter() - began
    mixed = {500: alike[: MIXED[500] // share], **larger}
    with console.status("1,000 people with 500 turns, all of them kept"):
        kept = await _all_kept(town, alike, questions)
    stages = []
    for budget_mib in BUDGETS_MIB:
        with console.status(f"people of three sizes, {budget_mib} MiB"):
            stages.append(await _by_budget(town, mixed, questions, budget_mib))
    await engine.dispose()
    return {"settled_s": round(settled_s), "alike": kept, "mixed": stages}


async def _all_kept(town: Town, people: Sequence[Owner], questions: int) -> dict[str, Any]:
    index_cache, process = town.index_cache(ROOM_FOR_ALL), os.getpid()
    await town.ask(index_cache, people[0])
    gc.collect()
    before_mb = pss_mb(process)
    made = [await town.ask(index_cache, owner) for owner in people[1:]]
    gc.collect()
    grown_mb = pss_mb(process) - before_mb
    again = [await town.ask(index_cache, owner) for owner in town.by_zipf(people, questions)]
    figures = {
        "people": len(people),
        "turns": 500,
        "first_recall_ms": percentiles([took for was_there, took in made if not was_there]),
        "next_recall_ms": percentiles([took for was_there, took in again if was_there]),
        "hit_share": sum(was_there for was_there, _ in again) / len(again),
        "view_mb_told": round(index_cache.size_bytes / len(people) / 1e6, 3),
        "view_mb_pss": round(grown_mb / len(made), 3),
    }
    index_cache.close()
    return figures


async def _by_budget(town: Town, people: dict[int, list[Owner]], questions: int, budget_mib: int) -> dict[str, Any]:
    """As many questions to fill the index cache as are counted afterwards."""
    index_cache = town.index_cache(budget_mib * 2**20)
    size_of = {owner: size for size, owners in people.items() for owner in owners}
    asking = town.by_zipf(list(size_of), 2 * questions)
    for owner in asking[:questions]:
        await town.ask(index_cache, owner)
    hits: dict[int, list[float]] = defaultdict(list)
    misses: dict[int, list[float]] = defaultdict(list)
    for owner in asking[questions:]:
        was_there, took = await town.ask(index_cache, owner)
        (hits if was_there else misses)[size_of[owner]].append(took)
    figures = {
        "people": {str(size): len(owners) for size, owners in people.items()},
        "index_mib": budget_mib,
        "hit_share": round(sum(map(len, hits.values())) / questions, 4),
        "hit_ms": {str(size): percentiles(hits[size]) | {"count": len(hits[size])} for size in people},
        "miss_ms": {str(size): percentiles(misses[size]) | {"count": len(misses[size])} for size in people},
        "views_kept": index_cache.count("bench"),
        "views_mb_told": round(index_cache.size_bytes / 1e6, 1),
    }
    index_cache.close()
    return figures


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        typer.run(main)
