"""`bondhu embeddings`: the progress of each embedding model's vectors, counted in SQL."""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from serving.cli.console import out, settings_or_exit
from serving.cli.database import with_database
from serving.config.schema import EmbedderSettings

if TYPE_CHECKING:  # imported where used, so that other commands start without the SQL toolkit
    from sqlalchemy.ext.asyncio import AsyncEngine

ROLES = ("present", "next")
LOOK_S = 15.0  # a whole period of the backfill job, with its pause (jobs.embedding_backfill)


def embeddings(
    over: Annotated[
        float, typer.Option(min=0, help="Seconds over which to measure the rate; 0: do not measure it.")
    ] = LOOK_S,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Show how many turns and memories have vectors, by embedding model (embedder and embedder.next)."""
    settings = settings_or_exit()

    async def look(database: "AsyncEngine") -> list[dict[str, Any]]:
        first = await _count(database, settings.embedder)
        if not over or all(space["embedded"] >= space["items"] for space in first if space["role"] in ROLES):
            return first
        began_s = time.monotonic()
        await asyncio.sleep(over)
        second = await _count(database, settings.embedder)
        return [_with_rate(space, first, time.monotonic() - began_s) for space in second]

    spaces = with_database(look)
    if as_json:
        typer.echo(json.dumps(spaces, indent=2))
        return
    table = Table(box=None)
    for heading in ("model", "revision", "role"):
        table.add_column(heading, no_wrap=True)
    for heading in ("embedded", "of", "%", "per s", "time left"):
        table.add_column(heading, justify="right", no_wrap=True)
    for space in spaces:
        table.add_row(*_shown(space))
    out.print(table)


async def _count(database: "AsyncEngine", embedder: EmbedderSettings) -> list[dict[str, Any]]:
    """All embedding spaces that are in use or have vectors."""
    from storage.memory.vectors.embeddings import Space
    from storage.memory.vectors.spaces import count_embedded, count_items

    counts, items = await count_embedded(database), await count_items(database)
    in_use = {Space(spec.id, spec.revision): role for spec, role in zip(embedder.in_use, ROLES, strict=False)}
    return [
        {
            "model": space.model,
            "revision": space.revision,
            "role": in_use.get(space, "old"),
            "embedded": counts.get(space, 0),
            "items": items,
        }
        for space in dict.fromkeys((*in_use, *counts))
    ]


def _with_rate(space: Mapping[str, Any], before: list[dict[str, Any]], over_s: float) -> dict[str, Any]:
    """Add the rate per second since `before`, and the estimated seconds for the rest."""
    names = ("model", "revision")
    earlier = next((other for other in before if all(other[name] == space[name] for name in names)), {"embedded": 0})
    per_s = (space["embedded"] - earlier["embedded"]) / over_s
    lacking = space["items"] - space["embedded"]
    return {**space, "per_s": round(per_s, 2), "left_s": round(lacking / per_s) if per_s > 0 and lacking > 0 else None}


def _shown(space: Mapping[str, Any]) -> tuple[str, ...]:
    items, embedded = space["items"], space["embedded"]
    percent = f"{int(1000 * embedded / items) / 10:.1f}" if items else "-"  # rounded down, so that 100 means all
    per_s, left_s = space.get("per_s"), space.get("left_s")
    names = (escape(space["model"]), space["revision"], space["role"])
    rate = "-" if per_s is None else f"{per_s:.1f}"
    return (
        *names,
        f"{embedded:,}",
        f"{items:,}",
        percent,
        rate,
        "-" if left_s is None else str(timedelta(seconds=left_s)),
    )
