"""Changing the embedding model: the next one's vectors are made in the background, and nothing is lost on the way."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.embedding.backfill import Backfill, Known, Report
from memory.recall.index_cache import IndexCache
from memory.recall.ranking import Matrix
from memory.service import MemoryService
from storage.memory import erasure
from storage.memory.conversations import NewMessage
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from storage.memory.tables import Person
from storage.memory.vectors.embeddings import Space, find_unembedded
from storage.memory.vectors.spaces import clear_others, count_embedded, count_items
from tests.support.memory.word_embedder import WordEmbedder

ANN, BEN, CAT = Owner("app", "ann"), Owner("app", "ben"), Owner("other", "cat")
PRESENT, NEXT = WordEmbedder("1").space, WordEmbedder("2").space
DAY = datetime(2026, 1, 1, tzinfo=UTC)
ENOUGH_S = 1e6


def turns(*numbers: int) -> list[NewMessage]:
    """Return turns of these minutes."""
    return [NewMessage(f"m{each}", "Ann", f"Turn number {each}", DAY + timedelta(minutes=each)) for each in numbers]


class Ticking:
    """A clock in seconds that `sleep` moves on, and an embedder that takes a second for each request."""

    def __init__(self, revision: str) -> None:
        self.words = WordEmbedder(revision)
        self.space, self.dimensions = self.words.space, self.words.dimensions
        self.now_s = 0.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept_s.append(seconds)
        self.now_s += seconds

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return unit vectors, a second later."""
        self.now_s += 1
        return await self.words.embed(texts)


class Interrupted(WordEmbedder):
    """An embedder during whose first request something else happens."""

    def __init__(self, revision: str, meanwhile: Callable[[], AsyncIterator[None]]) -> None:
        super().__init__(revision)
        self._meanwhile = meanwhile()

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return unit vectors, once it has happened."""
        await anext(self._meanwhile, None)
        return await super().embed(texts)


Run = Callable[..., Backfill]


@pytest.fixture
def run_with(engine: AsyncEngine, clock: Callable[[], datetime]) -> Run:
    """Return what makes a run: of a process that knows nothing yet, with all the time there is."""

    def make(
        known: Known | None = None, time: Ticking | None = None, ends_s: float = ENOUGH_S, portion: int = 3
    ) -> Backfill:
        time = time or Ticking("0")
        known = Known() if known is None else known
        return Backfill(engine, known, now=clock, clock=time, ends_s=ends_s, sleep=time.sleep, portion=portion)

    return make


@pytest.fixture
async def people(store: MemoryService) -> int:
    """Give three people a past in the present space; return how many items there are."""
    for owner in (ANN, BEN, CAT):
        await store.ingest(owner, "c1", turns(*range(1, 8)))
        await store.add(owner, NewMemory("Likes green tea"))
    return 24


async def test_the_next_models_vectors_are_made_while_the_present_one_serves(
    engine: AsyncEngine, store: MemoryService, clock: Callable[[], datetime], run_with: Run, people: int
) -> None:
    """Recall goes on in the present space at every moment; after the switch the next one is whole, at once."""
    seen: list[set[str]] = []

    async def recall_in_the_present() -> AsyncIterator[None]:
        while True:
            found = await store.recall(ANN, "Turn number 3", limit=8)
            seen.append({name for each in found for name in each.ranked.by_ranker})
            assert len(found) == 8
            assert all({"single", "window"} <= set(each.ranked.by_ranker) for each in found)
            yield

    following = Interrupted("2", recall_in_the_present)
    report = await run_with().run(WordEmbedder("1"), following)
    assert report == Report({NEXT: people}, 0, True)
    assert len(seen) == 9
    assert await count_embedded(engine) == {PRESENT: people, NEXT: people}
    switched = WordEmbedder("2")
    index_cache = IndexCache(engine, NEXT, dimensions=switched.dimensions, max_bytes=2**30)
    found = await MemoryService(engine, index_cache, switched, clock).recall(ANN, "Turn number 3", limit=8)
    index_cache.close()
    assert len(found) == 8
    assert all({"single", "window"} <= set(each.ranked.by_ranker) for each in found)
    assert switched.texts == ["Turn number 3"]


async def test_what_is_written_meanwhile_is_taken_along(
    engine: AsyncEngine, store: MemoryService, run_with: Run, people: int
) -> None:
    """A turn that comes while its neighbour is embedded makes that one stale: it is made again, and the new one too."""

    async def write() -> AsyncIterator[None]:
        await store.ingest(ANN, "c1", turns(8))
        await store.add(CAT, NewMemory("Moved to Oslo"))
        yield

    report = await run_with(portion=20).run(WordEmbedder("1"), Interrupted("2", write))
    assert report.is_complete
    assert report.made[NEXT] > people + 2  # the stale one was made twice
    assert await count_items(engine) == people + 2
    assert await count_embedded(engine) == {PRESENT: people + 2, NEXT: people + 2}


async def test_a_run_ends_in_time_and_the_next_goes_on(engine: AsyncEngine, run_with: Run, people: int) -> None:
    """No portion is begun when time is up; each is followed by as long a rest; nothing is made twice."""
    following, embedded, known = Ticking("2"), 0, Known()
    for _ in range(4):
        report = await run_with(known, following, following.now_s + 3.5).run(WordEmbedder("1"), following)
        embedded += report.made.get(NEXT, 0)
        assert await count_embedded(engine) == {PRESENT: people, NEXT: embedded}
        assert not report.is_complete
    assert following.slept_s == [1.0] * 8
    assert embedded == 22
    assert (await run_with(known, following).run(WordEmbedder("1"), following)).is_complete
    assert len(following.words.texts) == people * 2 - 3  # a text and a window each, but a memory has no window


async def test_a_process_looks_again_only_at_what_has_changed(
    engine: AsyncEngine, store: MemoryService, run_with: Run, people: int
) -> None:
    """Once complete, a run asks no embedder; what was written since is found, and so it is by a process that is new."""
    known = Known()
    assert (await run_with(known).run(WordEmbedder("1"), WordEmbedder("2"))).is_complete
    for knowing in (known, Known()):
        following = WordEmbedder("2")
        assert await run_with(knowing).run(WordEmbedder("1"), following) == Report({}, 0, True)
        assert following.texts == []
    await store.add(BEN, NewMemory("Plays chess"))
    for knowing, made in ((known, {NEXT: 1}), (Known(), {})):
        assert (await run_with(knowing).run(WordEmbedder("1"), WordEmbedder("2"))).made == made


async def test_the_present_space_is_completed_first(
    engine: AsyncEngine, store: MemoryService, embedder: WordEmbedder, run_with: Run
) -> None:
    """What could not be embedded when it was said is made up for, though its person never comes back."""
    embedder.is_away = True
    await store.ingest(ANN, "c1", turns(1, 2))
    embedder.is_away = False
    assert (await run_with().run(embedder, None)).made == {PRESENT: 2}
    assert await count_embedded(engine) == {PRESENT: 2}


async def test_old_vectors_go_when_the_present_space_is_complete_and_not_before(
    engine: AsyncEngine, store: MemoryService, run_with: Run, people: int
) -> None:
    """After the switch the old space is deleted, unless something lacks a vector in the new one, or it is the next."""
    switched = WordEmbedder("2")
    switched.is_away = True
    known = Known()
    report = await run_with(known).run(switched, None)
    assert (report.deleted, report.is_complete) == (0, False)
    assert await count_embedded(engine) == {PRESENT: people}
    switched.is_away = False
    way_back = WordEmbedder("1")
    assert (await run_with(known).run(switched, way_back)).deleted == 0
    assert await count_embedded(engine) == {PRESENT: people, NEXT: people}
    report = await run_with(known).run(switched, None)
    assert (report.deleted, report.is_complete) == (people, True)
    assert await count_embedded(engine) == {NEXT: people}


async def test_a_person_who_lacks_a_vector_keeps_the_old_ones(
    engine: AsyncEngine, store: MemoryService, embedder: WordEmbedder, people: int, clock: Callable[[], datetime]
) -> None:
    """The check is in the deletion's own transaction, by person, whatever the caller believes."""
    for owner, deleted in ((ANN, 8), (BEN, 0)):
        newer = WordEmbedder("2")
        index_cache = IndexCache(engine, NEXT, dimensions=newer.dimensions, max_bytes=2**30)
        await MemoryService(engine, index_cache, newer, clock).recall(owner, "tea", limit=1)
        index_cache.close()
        if owner == BEN:
            embedder.is_away = True
            await store.ingest(BEN, "c1", turns(9))
        assert await clear_others(engine, owner, [NEXT], now=DAY, limit=100) == deleted
    assert await clear_others(engine, Owner("app", "nobody"), [NEXT], now=DAY, limit=100) == 0
    assert await _people(engine) == 3


async def test_who_is_forgotten_meanwhile_stays_forgotten(engine: AsyncEngine, run_with: Run, people: int) -> None:
    """Vectors that were being made of a person's words are not stored once the person is gone."""

    async def forget() -> AsyncIterator[None]:
        await erasure.erase(engine, ANN)
        yield

    assert (await run_with().run(WordEmbedder("1"), Interrupted("2", forget))).is_complete
    counts = await erasure.count(engine, ANN)
    assert not any(counts.values()), counts
    assert await count_embedded(engine) == {PRESENT: 16, NEXT: 16}


async def test_an_embedder_that_is_away_holds_up_only_its_own_space(
    engine: AsyncEngine, run_with: Run, people: int
) -> None:
    """The present one's absence does not keep the next one's vectors from being made, nor the other way round."""
    away = WordEmbedder("3")
    away.is_away = True
    report = await run_with().run(away, WordEmbedder("2"))
    assert report == Report({NEXT: people}, 0, False)
    assert await run_with().run(WordEmbedder("2"), away) == Report({}, people, False)
    assert await find_unembedded(engine, ANN, Space("words", "2"), limit=9) == []


async def _people(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(select(func.count()).select_from(Person))).scalar_one())
