"""`bondhu keys`: creates, lists, rotates and revokes API keys."""

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from rich.table import Table

from serving.cli.console import EPILOG, Exit, fail, out, settings_or_exit
from serving.cli.database import with_database
from serving.config.errors import suggest

if TYPE_CHECKING:  # imported where used, so that other commands start without the SQL toolkit
    from storage.api_keys import KeyRecord, NewKey

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST = timedelta(days=36500)  # a time after the year 9999 cannot be stored

app = typer.Typer(help="API keys.", no_args_is_help=True, epilog=EPILOG)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def parse_duration(text: str) -> timedelta:
    """Parse a duration, a number with a unit: 90s, 30m, 24h, 30d, 2w."""
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    span = timedelta(seconds=int(match[1]) * UNITS_S[match[2]]) if match else None
    if span is None or span > LONGEST:
        raise typer.BadParameter(
            f"{text!r} is not a duration: use a number and s, m, h, d or w, such as 24h or 30d, at most 36500d"
        )
    return span


App = Annotated[str, typer.Option("--app", help="Application that the key belongs to.")]
Tier = Annotated[str, typer.Option(help="A tier of the configuration, which sets the key's limits.")]
Expiry = Annotated[
    timedelta | None,
    typer.Option(parser=parse_duration, metavar="DURATION", help="Such as 12h or 30d; default: never."),
]
AllowExternal = Annotated[
    bool, typer.Option("--allow-external", help="Allow requests to be sent to external models, such as Gemini.")
]
AllowSensitive = Annotated[
    bool, typer.Option("--allow-sensitive", help="Allow private content to be sent too; needs --allow-external.")
]
Memory = Annotated[bool, typer.Option("--memory", help="Turn memory on for its chats, unless a request turns it off.")]
OwnSafety = Annotated[
    str | None,
    typer.Option(
        "--own-safety",
        metavar="REASON",
        help="The application checks messages and replies itself; turn our safety step off for this key, and why.",
    ),
]
Notices = Annotated[
    str,
    typer.Option(help="Tell its users that they talk to a program: agents (with agents only), on (always), off."),
]


@app.command()
def create(
    app_name: App = "default",
    name: Annotated[str, typer.Option(help="A label.")] = "",
    tier: Tier = "standard",
    expires_in: Expiry = None,
    allow_external: AllowExternal = False,
    allow_sensitive: AllowSensitive = False,
    memory: Memory = False,
    own_safety: OwnSafety = None,
    notices: Notices = "agents",
    as_json: Json = False,
) -> None:
    """Create a key and show it once."""
    from storage import api_keys

    if allow_sensitive and not allow_external:
        fail("--allow-sensitive needs --allow-external", Exit.CONFIGURATION)
    _check(tier, own_safety, notices)
    now = datetime.now(UTC)
    new_key = with_database(
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
            own_safety=own_safety,
            notices=cast("api_keys.Notices", notices),
        )
    )
    _show_once(new_key, as_json)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List all keys, including revoked ones, without the secrets themselves."""
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
        timedelta, typer.Option(parser=parse_duration, metavar="DURATION", help="How long the old key stays valid.")
    ] = "24h",  # type: ignore[assignment]  # parsed by parse_duration, like user input
    as_json: Json = False,
) -> None:
    """Replace a key by a new one with the same app, name, tier and consent, shown once; the old one expires."""
    from storage import api_keys

    new_key = with_database(lambda db: api_keys.rotate_key(db, key_id, now=datetime.now(UTC), overlap=overlap))
    if new_key is None:
        fail(f"there is no valid key with the id {key_id}: see `bondhu keys list`", Exit.FAILED)
    _show_once(new_key, as_json)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Revoke a key permanently; it takes effect in all gateways within seconds."""
    from storage import api_keys

    record = with_database(lambda db: api_keys.revoke_key(db, key_id, now=datetime.now(UTC)))
    if record is None:
        fail(f"there is no key with the id {key_id}: see `bondhu keys list`", Exit.FAILED)
    typer.echo(json.dumps(_plain(record), indent=2) if as_json else f"revoked {record.id}")


def _check(tier: str, own_safety: str | None, notices: str) -> None:
    """End with a message if an option's value is not accepted."""
    from storage.api_keys import Notices

    tiers = settings_or_exit().tiers
    if tier not in tiers:
        fail(f"--tier: there is no tier {tier}{suggest(tier, tiers)}", Exit.CONFIGURATION)
    if notices not in get_args(Notices):
        fail(f"--notices: accepted are {', '.join(get_args(Notices))}, not {notices}", Exit.CONFIGURATION)
    if own_safety is not None and not 0 < len(own_safety.strip()) <= 200:
        fail("--own-safety needs a reason of 1 to 200 characters", Exit.CONFIGURATION)


def _show_once(new_key: "NewKey", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**_plain(new_key.record), "key": new_key.secret}, indent=2))
        return
    typer.echo(new_key.secret)
    typer.echo(f"id {new_key.record.id}; it is shown only now", err=True)


def _plain(record: "KeyRecord") -> dict[str, Any]:
    return {name: at.isoformat() if isinstance(at, datetime) else at for name, at in asdict(record).items()}
