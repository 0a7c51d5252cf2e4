"""SQL statements of an agent's turn, with its documents in SQL alone and with sessions in Redis.

`python -m bench.agents.turns`: turns of one conversation with `auto`, without a model and without HTTP, on SQLite and
Postgres; JSON and Markdown. Processor time is this process's (on SQLite the database's too).
"""

import asyncio
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.base import AgentRequest, RunContext
from agents.budget import RunBudget, RunLimits
from agents.chat.persona import read_personas
from agents.music.agent import MusicServices
from agents.registry import Parts, make_agents
from agents.running import run_agent
from agents.state import StateStore
from bench.databases import DATABASES, database_url
from bench.environment import commit, machine, versions, write_result
from models.chat import ChatMessage
from serving.cache.agent_sessions import AgentSessions
from serving.gateway.wiring import new_id
from serving.resilience.redis import GuardedRedis, open_redis
from serving.supervisor.processes import redis_server
from storage.agents.states import SqlStates
from storage.database import open_engine
from storage.media.playlists import SqlPlaylists
from storage.memory.owner import Owner

ROOT = Path(__file__).parents[2]
TURNS = (
    "play hangman",
    "e",
    "a",
    "stop",
    "play some jazz songs",
    "like 1",
    "skip 2",
    "make me a calm playlist",
    "yes",
    "how are you?",
)
PEOPLE = 30
OVER_SQL, OVER_REDIS = "SQL alone", "sessions in Redis"


async def talk(engine: AsyncEngine, states_of: Callable[[Owner], StateStore], users: str) -> dict[str, Any]:
    """Statements of each turn of one person, and the means over all turns of many."""
    playlists = MusicServices(SqlPlaylists(engine, _now))
    agent = make_agents(Parts(read_personas(ROOT / "configs/personas"), "dost", playlists)).find("auto")
    assert agent is not None
    statements = reads = 0

    def note(*arguments: Any) -> None:
        nonlocal statements, reads
        statements += 1
        reads += arguments[2].lstrip().startswith("SELECT")

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    each: list[dict[str, Any]] = []
    began_s = time.process_time()
    for person in range(PEOPLE):
        messages: list[ChatMessage] = []
        for text in TURNS:
            before = statements, reads
            messages.append(ChatMessage("user", text))
            owner = Owner("bench", f"{users}, {person}")
            budget = RunBudget(RunLimits(), time.monotonic)
            context = RunContext(owner, "c", budget, _now, random.Random(1), new_id, state=states_of(owner))
            async for _ in run_agent(agent, AgentRequest(list(messages)), context):
                pass
            if person == PEOPLE - 1:
                each.append({"text": text, "statements": statements - before[0], "reads": reads - before[1]})
    took_s = time.process_time() - began_s
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    turns = PEOPLE * len(TURNS)
    means = {"statements": statements / turns, "reads": reads / turns, "cpu_ms": 1000 * took_s / turns}
    return {"turns": each, **{name: round(mean, 2) for name, mean in means.items()}}


async def measure(database_url: str, redis_url: str) -> dict[str, Any]:
    """Both ways, one after the other, the first of each to warm up."""
    engine = open_engine(database_url)
    states = SqlStates(engine, _now)
    client = open_redis(redis_url)
    sessions = AgentSessions(states, GuardedRedis(client, timeout_s=5.0), new_id)
    ways: dict[str, Callable[[Owner], StateStore]] = {
        OVER_SQL: lambda owner: states,
        OVER_REDIS: lambda owner: sessions.of_run(owner, "c"),
    }
    found: dict[str, Any] = {}
    for number in range(2):
        for way, states_of in ways.items():
            found[way] = await talk(engine, states_of, f"{way} {number}")
    await client.aclose()
    await engine.dispose()
    return found


def _now() -> datetime:
    return datetime.now(UTC)


def markdown(result: dict[str, Any]) -> str:
    """The tables."""
    lines = [f"Commit {result['commit']}, {result['machine']['cpu']}, load {result['machine']['load_average_before']}."]
    lines += ["", f"Means of a turn, of {PEOPLE} people's {len(TURNS)} turns with `auto`, without a model:", ""]
    lines += ["| database | documents | statements | of them reads | processor ms |", "| --- | --- | --- | --- | --- |"]
    for database, found in result["databases"].items():
        for way, numbers in found.items():
            cells = (database, way, numbers["statements"], numbers["reads"], numbers["cpu_ms"])
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", f"| turn (SQLite) | {OVER_SQL}: statements (reads) | {OVER_REDIS} |", "| --- | --- | --- |"]
    sides = result["databases"]["SQLite"]
    for one, other in zip(sides[OVER_SQL]["turns"], sides[OVER_REDIS]["turns"], strict=True):
        cells = (one["text"], *(f"{each['statements']} ({each['reads']})" for each in (one, other)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the result."""
    load, databases = os.getloadavg(), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="bondhu-bench-") as folder:
        socket = Path(folder) / "redis.sock"
        flags = ["--port", "0", "--unixsocket", str(socket), "--dir", folder, "--save", ""]
        with subprocess.Popen([redis_server(), *flags], stdout=subprocess.DEVNULL) as redis:
            try:
                while not socket.exists():
                    time.sleep(0.05)
                for name in DATABASES:
                    with database_url(Path(folder), name) as database:
                        databases[name] = asyncio.run(measure(database, f"unix://{socket}"))
            finally:
                redis.terminate()
    result = {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"load_average_before": load},
        "versions": versions(),
        "databases": databases,
    }
    write_result("agents-turns", result, markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    main()
