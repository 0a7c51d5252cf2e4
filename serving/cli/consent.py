"""`bondhu consent`: what an application's end users allow to leave for a model outside."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.console import EPILOG, Exit, fail
from serving.cli.database import with_database

if TYPE_CHECKING:  # imported where used: every other command starts without the SQL toolkit
    from storage.consents import ConsentRecord

app = typer.Typer(help="What end users allow to leave.", no_args_is_help=True, epilog=EPILOG)
App = Annotated[str, typer.Argument(metavar="APP", help="Application, as of its keys.")]
User = Annotated[str, typer.Argument(metavar="USER", help="Its end user, as its requests name them.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command()
def show(app_name: App, user: User, as_json: Json = False) -> None:
    """Show what a person answered."""
    from storage import consents

    _show(with_database(lambda db: consents.find_consent(db, app=app_name, user=user)), as_json)


@app.command("set")
def set_(
    app_name: App,
    user: User,
    external: Annotated[
        bool, typer.Option("--external/--no-external", help="Their requests may leave for a model outside, as Gemini.")
    ],
    sensitive: Annotated[bool, typer.Option("--sensitive", help="What is private in them may go along.")] = False,
    as_json: Json = False,
) -> None:
    """Set a person's answer; gateways follow within five seconds."""
    from storage import consents

    if sensitive and not external:
        fail("--sensitive says nothing without --external", Exit.CONFIGURATION)
    now = datetime.now(UTC)
    record = with_database(
        lambda db: consents.set_consent(
            db, app=app_name, user=user, allow_external=external, allow_sensitive=sensitive, now=now
        )
    )
    _show(record, as_json)


@app.command()
def forget(app_name: App, user: User, as_json: Json = False) -> None:
    """Forget a person's answer, as if they had never been asked."""
    from storage import consents

    with_database(lambda db: consents.forget_consent(db, app=app_name, user=user))
    _show(None, as_json)


def _show(record: "ConsentRecord | None", as_json: bool) -> None:
    if as_json:
        known = {"allow_external": bool(record and record.allow_external)}
        known |= {"allow_sensitive": bool(record and record.allow_sensitive)}
        at = record.changed_at.isoformat() if record else None
        typer.echo(json.dumps({"asked": record is not None, **known, "changed_at": at}, indent=2))
    elif record is None:
        typer.echo("never asked")
    else:
        private = ", private content too" if record.allow_sensitive else ", private content not"
        what = f"may leave{private}" if record.allow_external else "nothing leaves"
        typer.echo(f"{what} (since {record.changed_at:%Y-%m-%d %H:%M} UTC)")
