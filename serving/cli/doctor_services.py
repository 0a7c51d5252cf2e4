"""`bondhu doctor services`: which services outside are switched on, what is missing, what answers and what refuses."""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from serving.cli.console import Exit, out, settings_or_exit

if TYPE_CHECKING:  # imported where used: every other command starts without HTTP clients
    from agents.outside.checks import Checked

BROKEN = ("missing", "refused", "unreachable")


def services(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Say of each service outside whether it is switched on, set up, reachable and allowed (exit code 1 if not)."""
    settings = settings_or_exit()
    from agents.outside.options import ServiceOptions

    options = ServiceOptions.read(settings.services.model_dump(), os.environ)
    found = asyncio.run(_check(options))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        table = Table(box=None)
        for heading in ("service", "for", "state", ""):
            table.add_column(heading)
        for each in found:
            table.add_row(each.name, each.used_for, each.state, each.says)
        out.print(table)
    raise typer.Exit(Exit.FAILED if any(each.state in BROKEN for each in found) else Exit.OK)


async def _check(options: object) -> "Sequence[Checked]":
    import aiohttp

    from agents.outside.checks import check_services
    from agents.outside.options import ServiceOptions

    assert isinstance(options, ServiceOptions)
    async with aiohttp.ClientSession() as session:
        return await check_services(options, session)
