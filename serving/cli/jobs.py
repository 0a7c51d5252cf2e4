"""`bondhu jobs`: lists background jobs and retries failed ones."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.markup import escape
from rich.table import Table

from serving.cli.console import EPILOG, Exit, fail, out
from serving.cli.database import with_database

if TYPE_CHECKING:  # imported where used, so that other commands start without the SQL toolkit
    from sqlalchemy.ext.asyncio import AsyncEngine

    from storage.memory.tables import JobState

app = typer.Typer(help="Background jobs.", no_args_is_help=True, epilog=EPILOG)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command("list")
def list_jobs(
    state: Annotated[
        str | None, typer.Option(help="Only jobs in this state: queued, running, done, dead or cancelled.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind.")] = None,
    as_json: Json = False,
) -> None:
    """List jobs, last changed first; jobs that are done are listed for a week."""
    from storage.jobs import board as job_board
    from storage.jobs.kinds import KINDS
    from storage.memory.tables import JobState

    if state is not None and state not in get_args(JobState):
        fail(f"--state: must be one of {', '.join(get_args(JobState))}, not {state}", Exit.CONFIGURATION)
    if kind is not None and kind not in KINDS:
        fail(f"--kind: must be one of {', '.join(sorted(KINDS))}, not {kind}", Exit.CONFIGURATION)
    job_state = cast("JobState | None", state)
    found = with_database(lambda db: job_board.list_jobs(db, state=job_state, kind=kind))
    if as_json:
        typer.echo(json.dumps([asdict(job) for job in found], indent=2, default=str))
        return
    table = Table(box=None)
    for heading in ("id", "app", "user", "kind", "state", "done", "attempts", "last failure", "changed"):
        table.add_column(heading, no_wrap=heading == "id")
    for job in found:
        owner = (escape(job.app), escape(job.end_user))
        last = (str(job.attempts), escape(job.error or ""), f"{job.updated_at:%Y-%m-%d %H:%M}")
        progress = f"{job.progress_done} of {job.progress_of}" if job.progress_of else ""
        table.add_row(job.id, *owner, job.kind, job.state, progress, *last)
    out.print(table)


@app.command()
def show(id_: Annotated[str, typer.Argument(metavar="ID", help="A job.")], as_json: Json = False) -> None:
    """Show all details of a job."""
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
    """Cancel a job; if a worker is running it, the results are not stored."""
    from storage.jobs import board as job_board

    now = datetime.now(UTC)
    if not with_database(lambda db: job_board.cancel_job(db, id_, now=now)):
        fail(f"no job {id_} that has not ended")
    typer.echo("cancelled")


@app.command()
def reread(
    since: Annotated[datetime, typer.Option(help="Turns that extraction has read since then (UTC).")],
    model: Annotated[
        str | None, typer.Option(help="The served model that reads them; default: the configured one.")
    ] = None,
) -> None:
    """Extract memories again from turns that a weak model has read; what it made of them is replaced."""
    from storage.jobs.queue import add_job
    from storage.memory.unread_turns import find_readers, mark_unread

    now = datetime.now(UTC)
    begin = since if since.tzinfo else since.replace(tzinfo=UTC)

    async def again(db: "AsyncEngine") -> tuple[int, int, int]:
        turns = people = waiting = 0
        for owner in await find_readers(db, begin):
            turns += await mark_unread(db, owner, begin, now=now)
            people += 1
            waiting += await add_job(db, owner, "extract", now=now, params={"model": model}) is None
        return turns, people, waiting

    turns, people, waiting = with_database(again)
    typer.echo(f"{turns} turns of {people} people will be read again")
    if waiting:
        typer.echo(f"{waiting} of them have an extraction that has not ended: it comes first, with its own model")


@app.command()
def retry(
    id_: Annotated[str | None, typer.Argument(metavar="ID", help="A dead job.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead jobs.")] = False,
) -> None:
    """Retry dead jobs, with a new set of attempts."""
    from storage.jobs import board as job_board

    if (id_ is None) != every:
        fail("give either a job id or --all", Exit.CONFIGURATION)
    now = datetime.now(UTC)
    count = with_database(lambda db: job_board.retry_jobs(db, id_, now=now))
    if not count and id_ is not None:
        fail(f"there is no dead job {id_}: see `bondhu jobs list --state dead`")
    typer.echo(f"{count} queued again")
