"""`bondhu keys`: create, list and revoke the keys that callers present."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from serving.cli_database import with_database
from serving.cli_frame import EPILOG, Exit, fail, out

if TYPE_CHECKING:  # imported where used: every other command starts without the SQL toolkit
    from storage.keys import KeyRecord

app = typer.Typer(help="Keys that callers present.", no_args_is_help=True, epilog=EPILOG)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command()
def create(
    app_name: Annotated[str, typer.Option("--app", help="Application that the key belongs to.")] = "default",
    name: Annotated[str, typer.Option(help="A label for people.")] = "",
    as_json: Json = False,
) -> None:
    """Make a key and show it, once."""
    from storage import keys

    made = with_database(lambda db: keys.create_key(db, app=app_name, name=name, now=datetime.now(UTC)))
    if as_json:
        typer.echo(json.dumps({**_plain(made.record), "key": made.secret}, indent=2))
        return
    typer.echo(made.secret)
    typer.echo(f"id {made.record.id}; it is shown only now", err=True)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List all keys, revoked ones too (never the keys themselves)."""
    from storage import keys

    records = with_database(keys.list_keys)
    if as_json:
        typer.echo(json.dumps([_plain(record) for record in records], indent=2))
        return
    table = Table(box=None)
    for heading in ("id", "app", "name", "key", "created", "last used", "revoked"):
        table.add_column(heading)
    for record in records:
        instants = (record.created_at, record.last_used_at, record.revoked_at)
        shown = [f"{at:%Y-%m-%d %H:%M}" if at else "" for at in instants]
        table.add_row(record.id, record.app, record.name, record.prefix + "...", *shown)
    out.print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Revoke a key for good; gateways follow within seconds."""
    from storage import keys

    record = with_database(lambda db: keys.revoke_key(db, key_id, now=datetime.now(UTC)))
    if record is None:
        fail(f"no key has the id {key_id}: `bondhu keys list` shows them", Exit.FAILED)
    typer.echo(json.dumps(_plain(record), indent=2) if as_json else f"revoked {record.id}")


def _plain(record: "KeyRecord") -> dict[str, Any]:
    return {name: at.isoformat() if isinstance(at, datetime) else at for name, at in asdict(record).items()}
