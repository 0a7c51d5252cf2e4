"""Every migration is one that the version before it survives: it adds, and takes nothing away (docs/deploy.md)."""

import asyncio
import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import migrate
from storage.database import open_engine

FIRST = "0015"  # the versions before it had no upgrade without an interruption


@dataclass(frozen=True)
class Shape:
    """What a statement of the version before may rely on, by table."""

    columns: dict[str, dict[str, tuple[str, bool, bool]]]  # type, may be null, has a default
    unique: dict[str, frozenset[tuple[str, ...]]]
    accepted: dict[str, dict[str, frozenset[str]]]  # the words in a CHECK, by its name


def shape(connection: Connection) -> Shape:
    """Read it from the database."""
    found = inspect(connection)
    tables = [name for name in found.get_table_names() if name != "alembic_version"]
    columns = {
        table: {
            column["name"]: (str(column["type"]), bool(column["nullable"]), column["default"] is not None)
            for column in found.get_columns(table)
        }
        for table in tables
    }
    unique = {
        table: frozenset(
            tuple(str(name) for name in each["column_names"])
            for each in (*found.get_unique_constraints(table), *found.get_indexes(table))
            if each.get("unique", True)
        )
        for table in tables
    }
    accepted = {
        table: {
            str(check["name"]): frozenset(re.findall(r"'(\w+)'", check["sqltext"]))
            for check in found.get_check_constraints(table)
        }
        for table in tables
    }
    return Shape(columns, unique, accepted)


def taken(before: Shape, after: Shape) -> list[str]:
    """What the version before relies on and would not find."""
    wrong = []
    for table, columns in before.columns.items():
        now: dict[str, Any] = after.columns.get(table, {})
        for name, (kind, may_be_null, _) in columns.items():
            if name not in now:
                wrong.append(f"{table}.{name} is gone")
            elif now[name][0] != kind:
                wrong.append(f"{table}.{name} is {now[name][0]}, was {kind}")
            elif may_be_null and not now[name][1]:
                wrong.append(f"{table}.{name} must not be null any more")
        for name in now.keys() - columns.keys():
            if not now[name][1] and not now[name][2]:
                wrong.append(f"{table}.{name} is new and has to be given")
        wrong += [
            f"{table}: {', '.join(names)} must be unique"
            for names in after.unique.get(table, frozenset()) - before.unique[table]
        ]
        checks = after.accepted.get(table, {})
        for name in checks.keys() & before.accepted[table].keys():
            if gone := before.accepted[table][name] - checks[name]:
                wrong.append(f"{name} does not accept {', '.join(sorted(gone))}")
        wrong += [f"{name} is a new check of {table}" for name in checks.keys() - before.accepted[table].keys()]
    return wrong


async def test_the_version_before_survives_every_migration(url: str) -> None:
    """In each database: its statements find their tables and columns, and what it writes is accepted."""
    scripts = ScriptDirectory.from_config(migrate._config(url))
    revisions = [each.revision for each in scripts.walk_revisions(base=FIRST, head="head")][::-1]
    engine = open_engine(url)
    shapes = []
    for revision in revisions:
        await asyncio.to_thread(migrate.upgrade, url, revision)
        async with engine.connect() as connection:
            shapes.append(await connection.run_sync(shape))
    await engine.dispose()
    found = {
        revision: wrong
        for revision, before, after in zip(revisions[1:], shapes, shapes[1:], strict=False)
        if (wrong := taken(before, after))
    }
    assert found == {}
    assert len(shapes) > 3


def test_what_an_old_version_would_miss_is_noticed() -> None:
    """A column that goes, changes or has to be given, a word that is refused, and what has to be unique."""
    text = ("TEXT", True, False)
    before = Shape({"t": {"a": text, "b": text}}, {"t": frozenset()}, {"t": {"ck": frozenset({"x", "y"})}})
    assert taken(before, before) == []
    assert taken(before, dataclasses.replace(before, columns={})) == ["t.a is gone", "t.b is gone"]
    columns = {"t": {"a": ("TEXT", False, False), "b": ("INTEGER", True, False), "c": ("TEXT", False, False)}}
    assert taken(before, dataclasses.replace(before, columns=columns)) == [
        "t.a must not be null any more",
        "t.b is INTEGER, was TEXT",
        "t.c is new and has to be given",
    ]
    assert taken(before, dataclasses.replace(before, unique={"t": frozenset({("a",)})})) == ["t: a must be unique"]
    narrower = {"t": {"ck": frozenset({"x"}), "other": frozenset[str]()}}
    assert taken(before, dataclasses.replace(before, accepted=narrower)) == [
        "ck does not accept y",
        "other is a new check of t",
    ]


async def test_a_version_uses_a_database_that_a_newer_one_migrated(url: str) -> None:
    """After a roll back `bondhu init` neither fails nor changes the tables; an older database is migrated."""
    assert await asyncio.to_thread(migrate.upgrade_unless_ahead, url)
    engine = open_engine(url)
    try:
        now = await _stamp(engine, "of_tomorrow")
        assert not await asyncio.to_thread(migrate.upgrade_unless_ahead, url)
        version = await _stamp(engine, now)  # other tests share the database
    finally:
        await engine.dispose()
    assert version == "of_tomorrow"


async def _stamp(engine: AsyncEngine, version: str) -> str:
    """Write the version down; returns the one before."""
    async with engine.begin() as connection:
        before = (await connection.exec_driver_sql("SELECT version_num FROM alembic_version")).scalar_one()
        await connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
    return str(before)
