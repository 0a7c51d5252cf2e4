"""`bondhu jobs`: what the worker does in the background, and what it has given up."""

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

app = typer.Typer(help="Background jobs: what is done, and what was given up.", no_args_is_help=True, epilog=EPILOG)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command("list")
def list_jobs(
    state: Annotated[
        str | None, typer.Option(help="Only those that are queued, running, done, dead or cancelled.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only those of this kind.")] = None,
    as_json: Json = False,
) -> None:
    """List jobs, the latest change first; those that are done, for a week."""
    from storage.jobs import board as job_board
    from storage.jobs.kinds import KINDS
    from storage.memory.tables import JobState

    if state is not None and state not in get_args(JobState):
        fail(f"--state: must be one of {', '.join(get_args(JobState))}, not {state}", Exit.CONFIGURATION)
    if kind is not None and kind not in KINDS:
        fail(f"--kind: must be one of {', '.join(sorted(KINDS))}, not {kind}", Exit.CONFIGURATION)
    wanted = cast("JobState | None", state)
    found = with_database(lambda db: job_board.list_jobs(db, state=wanted, kind=kind))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2, default=str))
        return
    table = Table(box=None)
    for heading in ("id", "app", "user", "kind", "state", "done", "attempts", "last failure", "changed"):
        table.add_column(heading, no_wrap=heading == "id")
    for job in found:
        whose = (escape(job.app), escape(job.end_user))
        last = (str(job.attempts), escape(job.error or ""), f"{job.updated_at:%Y-%m-%d %H:%M}")
        progress = f"{job.progress_done} of {job.progress_of}" if job.progress_of else ""
        table.add_row(job.id, *whose, job.kind, job.state, progress, *last)
    out.print(table)


@app.command()
def show(id_: Annotated[str, typer.Argument(metavar="ID", help="A job.")], as_json: Json = False) -> None:
    """Show all that is known of a job."""
    from storage.jobs import board as job_board

    job = with_database(lambda db: job_board.find_job(db, id_))
    if job is None:
        fail(f"no job {id_}")
    if as_json:
        typer.echo(json.dumps(asdict(job), indent=2, default=str))
        return
    for name, value in asdict(job).items():
        out.print(f"{name:<14} {'' if value is None else value}", markup=False, soft_wrap=True)


@app.command()
def cancel(id_: Annotated[str, typer.Argument(metavar="ID", help="A job that has not ended.")]) -> None:
    """End a job; what a worker still does of it is not stored."""
    from storage.jobs import board as job_board

    now = datetime.now(UTC)
    if not with_database(lambda db: job_board.cancel_job(db, id_, now=now)):
        fail(f"no job {id_} that has not ended")
    typer.echo("cancelled")


@app.command()
def retry(
    id_: Annotated[str | None, typer.Argument(metavar="ID", help="A dead job.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead jobs.")] = False,
) -> None:
    """Have dead jobs tried again, with all their attempts."""
    from storage.jobs import board as job_board

    if (id_ is None) != every:
        fail("name a job, or say --all", Exit.CONFIGURATION)
    now = datetime.now(UTC)
    count = with_database(lambda db: job_board.retry_jobs(db, id_, now=now))
    if not count and id_ is not None:
        fail(f"no dead job {id_}")
    typer.echo(f"{count} queued again")
