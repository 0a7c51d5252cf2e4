"""`bondhu safety`: the anonymous counts of a yearly report."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.console import EPILOG
from serving.cli.database import with_database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

app = typer.Typer(help="Counts of referrals to help.", no_args_is_help=True, epilog=EPILOG)


@app.callback()
def safety() -> None:
    """Counts of referrals to help."""


@app.command()
def report(
    year: Annotated[int | None, typer.Option(help="By default, this year (UTC).")] = None,
    hide_below: Annotated[int, typer.Option(help="Categories with fewer referrals are only counted in the total.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Show the referrals to help in a year by category, without apps, people or texts."""
    from agents.safety.counts import SqlCounts, yearly_report

    chosen = datetime.now(UTC).year if year is None else year

    async def read(database: "AsyncEngine") -> "Mapping[str, int]":
        return yearly_report(await SqlCounts(database).read(chosen), hide_below=hide_below)

    numbers = with_database(read)
    if as_json:
        typer.echo(json.dumps({"year": chosen, "referrals": dict(numbers)}))
        return
    for name, number in numbers.items():
        typer.echo(f"{name}: {number}")
