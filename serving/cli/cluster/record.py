"""The record of applies in SQL, and `bondhu history`, which shows it.

A database that is away does not keep an apply from happening: the missing row is told.
"""

import asyncio
import getpass
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Table

from serving.cli.console import err, out, settings_or_exit
from serving.cluster import apply as applying
from serving.cluster.manifest import Manifest, routes_of, without_notes
from serving.config.addresses import database_url
from serving.config.schema import Settings

if TYPE_CHECKING:  # imported where used, so that other commands start without the SQL toolkit
    from sqlalchemy.ext.asyncio import AsyncEngine

    from storage.applies import ApplyAction

Result = TypeVar("Result")
CHANGED_BY = "BONDHU_CHANGED_BY"  # the name to record, where several people share a login
TIMEOUT_S = 10.0


@dataclass
class Kept:
    """A change that will be recorded; `document` is what serves after it."""

    by: str
    document: Manifest | None = None


@contextmanager
def kept(settings: Settings, action: "ApplyAction", *, is_change: bool) -> Iterator[Kept]:
    """Record how what is done within ends; nothing is recorded if it was no change and went well."""
    change = Kept(os.environ.get(CHANGED_BY) or getpass.getuser())
    try:
        yield change
    except (applying.ApplyFailed, applying.ClusterError) as problem:
        _add(settings, change, action, str(problem))
        raise
    if is_change:
        _add(settings, change, action, None)


def last_good(settings: Settings) -> tuple[int, Manifest] | None:
    """The number and document of the newest change that served something else than what serves now."""
    from storage.applies import read_documents

    documents = _run(settings, lambda engine: read_documents(engine, limit=50))
    now = applying.last_applied(settings)
    return next(((number, each) for number, each in documents if now is None or _told(each) != _told(now)), None)


def history(
    limit: Annotated[int, typer.Option(help="How many of the newest changes.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Show the changes of what serves: when, by whom, which versions with which share, and how it ended."""
    from storage.applies import read_applies

    rows = _run(settings_or_exit(), lambda engine: read_applies(engine, limit=limit))
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
        return
    table = Table("", box=None)
    for heading in ("when", "who", "what", "serves", "how it ended"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        serves = "\n".join(
            f"{each['model']} {each['fingerprint']}" + ("" if each["share"] == 1 else f" {each['share']:.1%}")
            for each in row["versions"]
        )
        when = f"{row['at']:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(row["id"]), when, row["by"], row["action"], serves, row["failure"] or "well")
    out.print(table)


def _add(settings: Settings, change: Kept, action: "ApplyAction", failure: str | None) -> None:
    from storage.applies import add_apply

    served = change.document or applying.last_applied(settings)
    versions = [] if served is None else _versions(served)
    row: dict[str, Any] = {
        "at": datetime.now(UTC),
        "by": change.by,
        "action": action,
        "failure": failure,
        "versions": versions,
        "document": change.document,
    }
    try:
        _run(settings, lambda engine: asyncio.wait_for(add_apply(engine, **row), TIMEOUT_S))
    except Exception as problem:  # noqa: BLE001 - any error of the database; the change itself has happened
        err.print(f"warning: this change is not in the record: {problem}", markup=False, soft_wrap=True)


def _run(settings: Settings, query: "Callable[[AsyncEngine], Awaitable[Result]]") -> Result:
    from storage.database import open_engine

    async def run() -> Result:
        engine = open_engine(database_url(settings))
        try:
            return await query(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _versions(document: Manifest) -> list[dict[str, Any]]:
    versions: Any = routes_of(document).get("versions", [])
    return list(versions)


def _told(document: Manifest) -> dict[str, Any]:
    """A document without an apply's notes, to compare."""
    routes = without_notes(routes_of(document))
    others = [app for app in document["applications"] if app["name"] != "directory"]
    return {"routes": routes, "applications": others}
