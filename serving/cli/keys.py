"""`bondhu keys`: create, list, rotate and revoke the keys that callers present."""

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from serving.cli.console import EPILOG, Exit, fail, out, settings_or_exit
from serving.cli.database import with_database
from serving.config.errors import suggest

if TYPE_CHECKING:  # imported where used: every other command starts without the SQL toolkit
    from storage.api_keys import KeyRecord, NewKey

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST = timedelta(days=36500)  # an instant beyond the year 9999 cannot be stored

app = typer.Typer(help="Keys that callers present.", no_args_is_help=True, epilog=EPILOG)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def parse_duration(text: str) -> timedelta:
    """Read a number with a unit: 90s, 30m, 24h, 30d, 2w."""
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    span = timedelta(seconds=int(match[1]) * UNITS_S[match[2]]) if match else None
    if span is None or span > LONGEST:
        raise typer.BadParameter(f"{text!r} is no duration: a number and s, m, h, d or w, as 24h or 30d, up to 36500d")
    return span


@app.command()
def create(
    app_name: Annotated[str, typer.Option("--app", help="Application that the key belongs to.")] = "default",
    name: Annotated[str, typer.Option(help="A label for people.")] = "",
    tier: Annotated[str, typer.Option(help="A tier of the configuration: what the key may ask per minute and day.")] = (
        "standard"
    ),
    expires_in: Annotated[
        timedelta | None, typer.Option(parser=parse_duration, metavar="DURATION", help="As 12h or 30d; default: never.")
    ] = None,
    allow_external: Annotated[
        bool, typer.Option("--allow-external", help="The app's requests may leave for a model outside, as Gemini.")
    ] = False,
    allow_sensitive: Annotated[
        bool,
        typer.Option("--allow-sensitive", help="What is private in them may go along; only with --allow-external."),
    ] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Its chats are remembered and recalled for, unless a request says not to.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a key and show it, once."""
    from storage import api_keys

    tiers = settings_or_exit().tiers
    if tier not in tiers:
        fail(f"no tier is called {tier}{suggest(tier, tiers)}", Exit.CONFIGURATION)
    if allow_sensitive and not allow_external:
        fail("--allow-sensitive says nothing without --allow-external", Exit.CONFIGURATION)
    now = datetime.now(UTC)
    made = with_database(
        lambda db: api_keys.create_key(
            db,
            app=app_name,
            name=name,
            now=now,
            tier=tier,
            expires_at=None if expires_in is None else now + expires_in,
            allow_external=allow_external,
            allow_sensitive=allow_sensitive,
            memory=memory,
        )
    )
    _show_once(made, as_json)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List all keys, revoked ones too (never the keys themselves)."""
    from storage import api_keys

    records = with_database(api_keys.list_keys)
    if as_json:
        typer.echo(json.dumps([_plain(record) for record in records], indent=2))
        return
    table = Table(box=None)
    for heading in (
        "id",
        "app",
        "name",
        "key",
        "tier",
        "external",
        "memory",
        "created",
        "last used",
        "expires",
        "revoked",
    ):
        table.add_column(heading)
    for record in records:
        instants = (record.created_at, record.last_used_at, record.expires_at, record.revoked_at)
        shown = [f"{at:%Y-%m-%d %H:%M}" if at else "" for at in instants]
        external = ("yes, private too" if record.allow_sensitive else "yes") if record.allow_external else ""
        allowed = (external, "yes" if record.memory else "")
        table.add_row(record.id, record.app, record.name, record.prefix + "...", record.tier, *allowed, *shown)
    out.print(table)


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID")],
    overlap: Annotated[
        timedelta, typer.Option(parser=parse_duration, metavar="DURATION", help="How long the old key still works.")
    ] = "24h",  # type: ignore[assignment]  # read by parse_duration, like what a user writes
    as_json: Json = False,
) -> None:
    """Replace a key by a new one of the same app, name, tier and consent, shown once; the old one then expires."""
    from storage import api_keys

    made = with_database(lambda db: api_keys.rotate_key(db, key_id, now=datetime.now(UTC), overlap=overlap))
    if made is None:
        fail(f"no valid key has the id {key_id}: `bondhu keys list` shows them", Exit.FAILED)
    _show_once(made, as_json)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Revoke a key for good; gateways follow within seconds."""
    from storage import api_keys

    record = with_database(lambda db: api_keys.revoke_key(db, key_id, now=datetime.now(UTC)))
    if record is None:
        fail(f"no key has the id {key_id}: `bondhu keys list` shows them", Exit.FAILED)
    typer.echo(json.dumps(_plain(record), indent=2) if as_json else f"revoked {record.id}")


def _show_once(made: "NewKey", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**_plain(made.record), "key": made.secret}, indent=2))
        return
    typer.echo(made.secret)
    typer.echo(f"id {made.record.id}; it is shown only now", err=True)


def _plain(record: "KeyRecord") -> dict[str, Any]:
    return {name: at.isoformat() if isinstance(at, datetime) else at for name, at in asdict(record).items()}
