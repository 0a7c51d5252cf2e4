"""`bondhu trace`: one request (or background job) followed from client to engine to job, by its id."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from serving.cli.console import Exit, fail, out, settings_or_exit
from serving.cli.database import with_database
from serving.config.schema import Settings
from serving.observability.log_format import LEADING, parse

if TYPE_CHECKING:  # imported where used: every other command starts without the SQL toolkit
    from sqlalchemy.ext.asyncio import AsyncEngine

JOB_PREFIX = "job-"  # before a job's id, in the ids of its requests: see jobs.gateway_client
JOBS_AFTER = timedelta(hours=1)  # a job of the same person that began within it may have been caused by the request
MAX_LINE_BYTES = 2**16


class Event(NamedTuple):
    """Something that happened: when, where, what."""

    at: datetime
    where: str
    what: str


def trace(
    request_id: Annotated[str, typer.Argument(metavar="ID", help="The x-request-id of a reply, or the id of a job.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Show the course of one request: client, admission, engine, answer, and the person's later jobs."""
    settings = settings_or_exit()
    events = [*_from_logs(settings.var_dir, request_id), *_from_journals(settings, request_id)]
    events += with_database(lambda engine: _from_database(engine, request_id))
    if not events:
        fail(
            f"nothing is known of {request_id}: not in the ledger, in no log of {settings.var_dir / 'logs'}",
            Exit.FAILED,
        )
    events.sort(key=lambda event: event.at)
    if as_json:
        shown = [{"at": event.at.isoformat(), "where": event.where, "what": event.what} for event in events]
        typer.echo(json.dumps({"id": request_id, "events": shown}, indent=2))
        return
    begin = events[0].at
    out.print(f"{request_id}  {begin:%Y-%m-%d %H:%M:%S} UTC", markup=False)
    for event in events:
        after_s = (event.at - begin).total_seconds()
        out.print(f"{after_s:>+10.3f} s  {event.where:<16} {event.what}", markup=False, soft_wrap=True)


async def _from_database(engine: "AsyncEngine", request_id: str) -> list[Event]:
    from sqlalchemy import select

    from storage.memory.tables import Job
    from storage.tables import Request

    ids = (request_id, f"{JOB_PREFIX}{request_id}")
    async with engine.connect() as connection:
        rows = (await connection.execute(select(Request.__table__).where(Request.request_id.in_(ids)))).mappings().all()
        jobs = select(Job.__table__).where(Job.id == request_id.removeprefix(JOB_PREFIX))
        found = list((await connection.execute(jobs)).mappings())
        for row in rows:
            if row["end_user"] is not None:
                of_person = (Job.app == row["app"]) & (Job.end_user == row["end_user"])
                soon = Job.created_at.between(row["started_at"], row["started_at"] + JOBS_AFTER)
                found += (await connection.execute(select(Job.__table__).where(of_person, soon))).mappings()
    events = [event for row in rows for event in _of_row(row)]
    return events + [event for job in {job["id"]: job for job in found}.values() for event in _of_job(job)]


def _of_row(row: Any) -> Iterator[Event]:
    began = _aware(row["started_at"])
    who = f"{row['app']}, {row['end_user'] or 'no user'}, class {row['class']}, key {row['key_id']}"
    yield Event(began, "client", f"POST {row['endpoint']} for {row['model_asked'] or 'the active model'} ({who})")
    for number, segment in enumerate(row["segments"]):
        tokens = f"tokens {segment['from_token']} to {segment['to_token']}"
        label = f"revision {segment['revision']}, {segment['quantization']}" if segment.get("revision") else "external"
        at = began + timedelta(microseconds=number + 1)
        yield Event(at, "engine", f"{segment['model']} ({label}): {segment['reason']}, {tokens}")
    for step in row["steps"] or ():
        yield Event(began + timedelta(milliseconds=step["at_ms"]), "step", _of_step(step))
    if row["ttft_s"] is not None:
        yield Event(began + timedelta(seconds=row["ttft_s"]), "answer", "first token")
    counted = f"{row['prompt_tokens']} + {row['completion_tokens']} tokens, {row['cost_microusd']} micro-dollars"
    cached = f", cache {row['cache']}" if row["cache"] else ""
    ended = f"{row['outcome']}, status {row['status']}{cached}; {counted}"
    code = f" ({row['error_code']})" if row["error_code"] else ""
    yield Event(began + timedelta(seconds=row["latency_s"] or 0), "answer", ended + code)


def _of_step(step: Any) -> str:
    named = " ".join(part for part in (step["kind"], step["name"]) if part)
    detail = f", {step['detail']}" if step["detail"] else ""
    outside = f", {step['outside_calls']} calls outside" if step["outside_calls"] else ""
    return f"{named}: {step['outcome']}{detail}, {step['ms']:g} ms{outside}"


def _of_job(job: Any) -> Iterator[Event]:
    yield Event(_aware(job["created_at"]), "job", f"{job['kind']} {job['id']} was added")
    why = f", {job['error']}" if job["error"] else ""
    yield Event(
        _aware(job["updated_at"]), "job", f"{job['kind']} {job['id']}: {job['state']} ({job['attempts']} attempts{why})"
    )


def _from_journals(settings: Settings, request_id: str) -> Iterator[Event]:
    """Requests that are running, or are not in SQL yet."""
    from serving.ledger.write_ahead_log import HEADER_BYTES

    for path in (settings.var_dir / "ledger").glob("*.journal"):
        for line in _lines_with(path, request_id, skip_bytes=HEADER_BYTES):
            try:
                record = json.loads(line.partition(" ")[2])
            except ValueError:
                continue
            if record.get("request_id") == request_id and "outcome" not in record:
                at = datetime.fromtimestamp(record["started_at"], UTC)
                yield Event(at, "ledger", f"begun by gateway worker {path.stem}")


def _from_logs(var_dir: Path, request_id: str) -> Iterator[Event]:
    for path in sorted((*(var_dir / "logs").glob("*.log*"), *(var_dir / "audit").glob("*.jsonl"))):
        for line in _lines_with(path, request_id):
            if (event := _of_line(path, line, request_id)) is not None:
                yield event


def _of_line(path: Path, line: str, request_id: str) -> Event | None:
    where = path.name.partition(".")[0]
    line = line[max(line.find("{"), 0) :]  # vLLM puts the name of its process before every line
    fields = parse(line)
    if fields is not None:
        if fields.get("request_id") not in (request_id, f"{JOB_PREFIX}{request_id}"):
            return None
        rest = {name: value for name, value in fields.items() if name not in (*LEADING, "request_id", "exception")}
        details = "  ".join(f"{name}={value}" for name, value in rest.items() if value is not None)
        return Event(_aware(datetime.fromisoformat(fields["time"])), where, f"{fields['message']}  {details}".rstrip())
    try:
        fields = json.loads(line)
        at = _aware(datetime.fromisoformat(str(fields["at" if "at" in fields else "time"])))
    except (ValueError, KeyError, TypeError):
        return None
    return (
        Event(at, where, f"sent to an external model: {fields.get('model')}")
        if fields.get("request_id") == request_id
        else None
    )


def _lines_with(path: Path, text: str, *, skip_bytes: int = 0) -> Iterator[str]:
    needle = text.encode()
    try:
        with path.open("rb") as file:
            file.seek(skip_bytes)
            while line := file.readline(MAX_LINE_BYTES):
                if needle in line:
                    yield line.decode(errors="replace").rstrip("\n")
    except OSError:
        return


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
