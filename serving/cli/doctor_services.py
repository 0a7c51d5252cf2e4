"""`bondhu doctor services`: the state of external services: enabled, configured, reachable, authorised."""

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
    """Check whether external services are enabled, configured, reachable and authorised (exit code 1 if not)."""
    settings = settings_or_exit()
    from agents.outside.options import ServiceOptions

    options = ServiceOptions.read(settings.services.model_dump(), os.environ)
    checks = asyncio.run(_check(options))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        table = Table(box=None)
        for heading in ("service", "for", "state", ""):
            table.add_column(heading)
        for check in checks:
            table.add_row(check.name, check.used_for, check.state, check.says)
        out.print(table)
    raise typer.Exit(Exit.FAILED if any(check.state in BROKEN for check in checks) else Exit.OK)


async def _check(options: object) -> "Sequence[Checked]":
    import aiohttp

    from agents.outside.checks import check_services
    from agents.outside.options import ServiceOptions

    assert isinstance(options, ServiceOptions)
    async with aiohttp.ClientSession() as session:
        return await check_services(options, session)
