"""`bondhu jobs`: what the worker makes of what people said, and what it has given up."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.markup import escape
from rich.table import Table

from serving.cli.console import EPILOG, Exit, fail, out
from serving.cli.database import with_database

if TYPE_CHECKING:  # imported where used: every other command starts without the SQL toolkit
    from storage.memory.tables import JobState

app = typer.Typer(help="Background jobs on what people said.", no_args_is_help=True, epilog=EPILOG)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command("list")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="Only those that are queued, running, done or dead.")] = None,
    as_json: Json = False,
) -> None:
    """List jobs, the latest change first; those that are done, for a week."""
    from storage import jobs
    from storage.memory.tables import JobState

    if state is not None and state not in get_args(JobState):
        fail(f"--state: must be one of {', '.join(get_args(JobState))}, not {state}", Exit.CONFIGURATION)
    wanted = cast("JobState | None", state)
    found = with_database(lambda db: jobs.list_jobs(db, state=wanted))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2, default=str))
        return
    table = Table(box=None)
    for heading in ("id", "app", "user", "kind", "state", "attempts", "last failure", "changed"):
        table.add_column(heading)
    for job in found:
        whose = (escape(job.app), escape(job.end_user))
        last = (str(job.attempts), escape(job.error or ""), f"{job.updated_at:%Y-%m-%d %H:%M}")
        table.add_row(job.id, *whose, job.kind, job.state, *last)
    out.print(table)


@app.command()
def retry(
    id_: Annotated[str | None, typer.Argument(metavar="ID", help="A dead job.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead jobs.")] = False,
) -> None:
    """Have dead jobs tried again, with all their attempts."""
    from storage import jobs

    if (id_ is None) != every:
        fail("name a job, or say --all", Exit.CONFIGURATION)
    now = datetime.now(UTC)
    count = with_database(lambda db: jobs.retry_jobs(db, id_, now=now))
    if not count and id_ is not None:
        fail(f"no dead job {id_}")
    typer.echo(f"{count} queued again")
