"""`bondhu consent`: end users' consent to external models."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.console import EPILOG, Exit, fail
from serving.cli.database import with_database

if TYPE_CHECKING:  # imported where used, so that other commands start without the SQL toolkit
    from storage.consents import ConsentRecord

app = typer.Typer(help="End users' consent to external models.", no_args_is_help=True, epilog=EPILOG)
App = Annotated[str, typer.Argument(metavar="APP", help="Application, as in its keys.")]
User = Annotated[str, typer.Argument(metavar="USER", help="End user of the application, as in its requests.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command()
def show(app_name: App, user: User, as_json: Json = False) -> None:
    """Show a person's consent."""
    from storage import consents

    _show(with_database(lambda db: consents.find_consent(db, app=app_name, user=user)), as_json)


@app.command("set")
def set_(
    app_name: App,
    user: User,
    external: Annotated[
        bool,
        typer.Option("--external/--no-external", help="Allow requests to be sent to external models, such as Gemini."),
    ],
    sensitive: Annotated[bool, typer.Option("--sensitive", help="Allow private content to be sent too.")] = False,
    as_json: Json = False,
) -> None:
    """Set a person's consent; it takes effect in all gateways within five seconds."""
    from storage import consents

    if sensitive and not external:
        fail("--sensitive needs --external", Exit.CONFIGURATION)
    now = datetime.now(UTC)
    record = with_database(
        lambda db: consents.set_consent(
            db, app=app_name, user=user, allow_external=external, allow_sensitive=sensitive, now=now
        )
    )
    _show(record, as_json)


@app.command()
def forget(app_name: App, user: User, as_json: Json = False) -> None:
    """Delete a person's consent, as if they had never been asked."""
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
        private = "with private content" if record.allow_sensitive else "without private content"
        what = f"external models allowed, {private}" if record.allow_external else "external models not allowed"
        typer.echo(f"{what} (since {record.changed_at:%Y-%m-%d %H:%M} UTC)")
