"""Two people of one application and one of another have secrets: no job mixes them up, and no job can be left out."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.inbox.box import Message, change_box, save_settings
from agents.inbox.settings import InboxSettings
from agents.personality.profile import Personality, save_personality
from jobs.app import create_app
from jobs.config import ExtractionTarget, Ingress, JobsPlan, Plan, Rules, SummaryPlan
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage import migrate
from storage.agents.states import SqlStates, StateKey
from storage.database import open_engine
from storage.jobs import board as job_board
from storage.jobs import queue as jobs
from storage.jobs.kinds import KINDS
from storage.media.playlists import SqlPlaylists
from storage.memory.conversations import NewMessage, ingest
from storage.memory.memories import MemoryFilter, list_memories
from storage.memory.other_rows import read_other_rows
from storage.memory.owner import Owner
from storage.memory.summaries import SummaryRules
from storage.services.links import SqlLinks
from tests.support.databases.redis_process import RedisProcess
from tests.support.gateway_process import CLUSTER_KEY, free_port
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder
from tests.support.servers.embedder import EmbedderServer
from tests.support.servers.model import ModelServer, operation

SECRETS = {Owner("one", "a"): "quetzal", Owner("one", "b"): "ocelot", Owner("two", "a"): "narwhal"}
NUMBERS = dict(zip(SECRETS, (2.71828, 3.14159, 1.61803), strict=True))  # as scores, which have no words
SENTENCE = "The secret word of my safe is {}"
PRESENT = {"model": "words", "revision": "1", "dimensions": DIMENSIONS, "route": "/embedder-1"}
RULES = Rules(turn_tokens=1, idle_s=0, batch_tokens=200, timeout_s=30, max_attempts=3)


def now() -> datetime:
    """Return when all of it is from."""
    return datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A database with all three, a model that quotes all it is told, and the worker's tasks."""

    def __init__(self, folder: Path, model: ModelServer, redis_url: str) -> None:
        self.url = f"sqlite+aiosqlite:///{folder / 'bondhu.db'}"
        self.model = model
        target = ExtractionTarget(
            base_url=model.url, api_key="bd-test", model="bondhu", embedder="words", answer_tokens=256, timeout_s=30
        )
        self.ingress_port = free_port()
        ingress = Ingress(f"http://127.0.0.1:{self.ingress_port}", CLUSTER_KEY)
        extraction = Plan(target=target, rules=RULES, every_s=30)
        summaries = SummaryPlan(target=target, rules=SummaryRules(turns=1, newer=0))
        self.app = create_app(redis_url, self.url, extraction, ingress=ingress, plan=JobsPlan(summaries=summaries))
        migrate.upgrade(self.url)
        model.always = self.quote_everything

    def quote_everything(self) -> list[Any]:
        """Return what a model proposes that takes every turn it sees for the person's own."""
        turns = json.loads(self.model.requests[-1]["messages"][1]["content"])["turns"]
        return [operation(turn.get("id", "t1"), turn["text"], turn["text"]) for turn in turns]

    async def say(self) -> None:
        """Have each say theirs, in conversations and turns of the same names."""
        engine = open_engine(self.url)
        for owner, secret in SECRETS.items():
            turns = [NewMessage("1", "user", SENTENCE.format(secret), datetime(2026, 1, 1, tzinfo=UTC))]
            await ingest(engine, owner, "c", turns, now=datetime(2026, 1, 1, tzinfo=UTC))
            song = {"id": f"{secret}/x", "artist": secret, "title": "x", "year": 2000}
            filters = {"moods": ["calm"]}
            await SqlPlaylists(engine, now).create(owner, key="p", name=secret, items=[song] * 3, wanted=filters)
            seen = {"items": [{"id": "x", "title": secret, "url": "https://example.test/", "features": {secret: 1.0}}]}
            await SqlStates(engine, now).save(StateKey(owner, "video", "c", "shown"), seen, expected=0)
            message = Message(f"m-{secret}", "before:x", "planned", secret, secret, now().isoformat())
            states = SqlStates(engine, now)
            await change_box(states, owner, lambda box, message=message: box.with_message(message))
            await save_settings(states, owner, InboxSettings(enabled=True))
            own = Personality(corrected={"openness": NUMBERS[owner]}, reads_language=True)
            await save_personality(states, owner, own)
            await SqlLinks(engine, now).link(owner, "listenbrainz", secret, secret=None, expires_at=None)
        await engine.dispose()

    async def kept(self) -> dict[Owner, str]:
        """Return all that is remembered and recalled of each."""
        engine, embedder = open_engine(self.url), WordEmbedder()
        index_cache = IndexCache(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=2**30)
        store = MemoryService(engine, index_cache, embedder, lambda: datetime(2026, 2, 1, tzinfo=UTC))
        kept = {}
        for owner in SECRETS:
            recalled = await store.recall(owner, "What is the secret word of the safe?", limit=50)
            remembered = await list_memories(engine, owner, MemoryFilter(), limit=50)
            assert all({"single", "window"} <= set(each.ranked.by_ranker) for each in recalled), "each has its vectors"
            others = [await read_other_rows(engine, owner), await SqlStates(engine, now).of_person(owner)]
            rows = [asdict(each.record) for each in recalled] + [asdict(each) for each in remembered]
            kept[owner] = json.dumps([*rows, *others], default=str)
        index_cache.close()
        await engine.dispose()
        return kept

    async def ids(self) -> list[str]:
        """Return the ids of the jobs."""
        engine = open_engine(self.url)
        found = [each.id for each in await job_board.list_jobs(engine)]
        await engine.dispose()
        return found


async def add_all(world: World) -> None:
    """Add a job of every kind for everybody, and those of nobody's."""
    engine, now = open_engine(world.url), datetime.now(UTC)
    for kind in KINDS.values():
        for owner in SECRETS if kind.of == "person" else [jobs.SERVICE]:
            params = {"older_than_days": 0} if kind.name == "playlists" else {}
            await jobs.add_job(engine, owner, kind.name, now=now, params=params)
    found = {job.kind for job in await job_board.list_jobs(engine)}
    prepared = {"playlists", "videos", "history", "inbox", "personality", "summarise"}
    assert prepared | {"expire_videos", "stats", "retention"} <= found
    await engine.dispose()


def run_all(world: World) -> None:
    """Run every job, of every kind, and any that there is not."""
    asyncio.run(add_all(world))
    task = world.app.tasks["jobs.run"]
    for id_ in [*asyncio.run(world.ids()), "nothing"]:
        task.run(id_)


JOBS: dict[str, Callable[[World], Any]] = {  # in this order
    "jobs.flush_key_uses": lambda place: place.app.tasks["jobs.flush_key_uses"].run(),
    "jobs.send_due": lambda place: place.app.tasks["jobs.send_due"].run(),
    "jobs.wipe_set_aside": lambda place: place.app.tasks["jobs.wipe_set_aside"].run(),
    "jobs.run": run_all,
    "jobs.reembed": lambda place: place.app.tasks["jobs.reembed"].run(),
}


def test_no_secret_crosses_in_a_job(tmp_path: Path, redis_process: RedisProcess) -> None:
    """Every task that a worker knows is run; the model is asked of one person at a time, and each keeps their own."""
    with ModelServer(free_port()) as model:
        world = World(tmp_path, model, redis_process.url)
        assert set(JOBS) == {name for name in world.app.tasks if name.startswith("jobs.")}
        asyncio.run(world.say())
        with EmbedderServer(world.ingress_port, {"embedders": [PRESENT]}):
            for run in JOBS.values():
                run(world)
        bodies = [json.dumps(body) for body in model.requests]
    for body in bodies:
        assert sum(secret in body for secret in SECRETS.values()) == 1
    assert len(bodies) == 2 * len(SECRETS), "extraction, and a summary"
    for owner, text in asyncio.run(world.kept()).items():
        assert text.count(SECRETS[owner]) > 2, "a turn, a memory, and its quote"
        assert "A conversation of" in text, "a summary"
        assert not [secret for other, secret in SECRETS.items() if other != owner and secret in text]
        assert [number for number in NUMBERS.values() if str(number) in text] == [NUMBERS[owner]]
