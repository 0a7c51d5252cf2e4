"""`bondhu usage`: sums requests, tokens and cost in the ledger."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.markup import escape
from rich.table import Table

from serving.cli.console import Exit, fail, out
from serving.cli.database import with_database

if TYPE_CHECKING:
    from storage.requests import Dimension

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MAX_GROUPS = 100_000


def usage(
    by: Annotated[
        str, typer.Option(help="Group by app, user, model, day: one or several, separated by commas.")
    ] = "app,model",
    since: Annotated[str | None, typer.Option(help="Only the last 30m, 24h, 7d, 4w, ...; default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Sum requests, tokens and cost in the database, to which gateways write every second."""
    from storage.requests import DIMENSIONS, sum_requests

    names = [name.strip() for name in by.split(",") if name.strip()]
    if unknown := [name for name in names if name not in DIMENSIONS]:
        fail(f"--by: must be of {', '.join(DIMENSIONS)}, not {unknown[0]}", Exit.CONFIGURATION)
    groups = cast("list[Dimension]", list(dict.fromkeys(names)))
    start = None if since is None else _ago(since)
    sums = with_database(lambda db: sum_requests(db, groups, since=start, limit=MAX_GROUPS))
    if as_json:
        typer.echo(json.dumps(sums, indent=2, default=str))
        return
    table = Table(box=None)
    for group in groups:
        table.add_column(group)
    for heading in ("requests", "prompt", "cached", "completion", "USD"):
        table.add_column(heading, justify="right")
    for row in sums:
        counts = (row["requests"], row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"])
        usd = Decimal(row["cost_microusd"]).scaleb(-6)
        shown = ["-" if row[group] is None else escape(str(row[group])) for group in groups]
        table.add_row(*shown, *(f"{count:,}" for count in counts), f"{usd:,.6f}")
    out.print(table)


def _ago(span: str) -> datetime:
    matched = re.fullmatch(r"(\d{1,6})([mhdw])", span)
    if matched is None:
        fail(f"--since: must be a number and m, h, d or w, such as 7d, not {span}", Exit.CONFIGURATION)
    try:
        return datetime.now(UTC) - timedelta(**{UNITS[matched[2]]: int(matched[1])})
    except OverflowError:
        fail(f"--since: {span} is too long", Exit.CONFIGURATION)
